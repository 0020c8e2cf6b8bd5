package dev.septum.kvm;

/** A vendor module that can be loaded ({@code kvm_x86_init_ops}). Found by {@link KvmBackends}. */
public interface KvmBackend {

  /** The name that users choose it by. */
  String name();

  /** Sets the backend up on a host and returns its ops ({@code hardware_setup}). */
  KvmX86Ops hardwareSetup(Host host);
}
