package dev.septum.kvm;

import java.util.Set;

/**
 * A vendor module that can be loaded ({@code kvm_x86_init_ops}). Found by {@link KvmBackends}.
 *
 * <p>{@code docs/spec.md} is the contract; the conformance kit holds a backend to it.
 */
public interface KvmBackend {

  /** The id that users choose it by: lower-case letters, digits and dashes. */
  String name();

  /** What it is, in one line. */
  String description();

  /** What it can do. */
  Set<Capability> capabilities();

  /** Sets the backend up on a host and returns its ops ({@code hardware_setup}). */
  KvmX86Ops hardwareSetup(Host host);

  /**
   * A VM without memory and vCPUs ({@code vm_init}). A backend with state of its own for a VM
   * returns a subclass that has it, as {@code container_of} would find it.
   *
   * @param ops what {@link #hardwareSetup} returned
   */
  default Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {
    return new Kvm(id, host, ops, type);
  }

  /** A vCPU of such a VM, which the caller adds to it ({@code vcpu_create}). */
  default Vcpu newVcpu(Kvm kvm, int id) {
    return new Vcpu(kvm, id);
  }

  /**
   * Has the hardware refuse the VM's next split, for the conformance kit.
   *
   * @return whether it will; false if there is no way to bring that about
   */
  default boolean refuseNextSplit(Kvm kvm) {
    return false;
  }

  /** The external page table of such a VM. */
  default ExternalTable externalTable(Kvm kvm) {
    return ExternalTable.NONE;
  }
}
