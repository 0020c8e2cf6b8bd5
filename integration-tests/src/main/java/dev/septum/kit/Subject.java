package dev.septum.kit;

import dev.septum.kvm.Capability;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import java.time.Duration;
import java.util.Set;

/** The backend that the kit judges, and the kit's questions about it, each with a usual answer. */
public class Subject {

  private static final Duration TIME_LIMIT = Duration.ofSeconds(60);

  private final KvmBackend backend;

  /** A backend that answers every question as usual. */
  public Subject(KvmBackend backend) {
    this.backend = backend;
  }

  /** The backend. */
  public final KvmBackend backend() {
    return backend;
  }

  /** What it can do on the hosts of the kit: what it claims, unless these hosts lack something. */
  public Set<Capability> capabilities() {
    return backend.capabilities();
  }

  /** A small VM of it on a host that has nothing else. */
  public KitVm newVm(Host host) {
    return KitVm.of(backend, host);
  }

  /**
   * Has the hardware refuse the VM's next split; where there is no way to bring that about the
   * rules on refused splits are skipped.
   *
   * @return whether the next split will be refused
   */
  public boolean refuseNextSplit(KitVm vm) {
    return vm.refuseNextSplit();
  }

  /** How long one rule may take before the backend counts as hanging. */
  public Duration timeLimit() {
    return TIME_LIMIT;
  }

  /** What KVM makes of the ops before they reach the backend: nothing, unless KVM is wrong. */
  KvmX86Ops seenThroughKvm(KitVm vm, KvmX86Ops ops) {
    return ops;
  }
}
