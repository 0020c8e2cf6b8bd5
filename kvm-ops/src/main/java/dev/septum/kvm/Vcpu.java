package dev.septum.kvm;

import dev.septum.kernel.GuestMode;
import dev.septum.kernel.SharedWord;
import org.jspecify.annotations.Nullable;

/** A vCPU ({@code struct kvm_vcpu}). A backend's own state is a subclass of this. */
public class Vcpu {

  private static final ThreadLocal<@Nullable Vcpu> RUNNING = new ThreadLocal<>();

  private final Kvm kvm;
  private final int id;
  private final GuestMode guestMode;
  private final Stats<VcpuStat> stats;

  /** {@code KVM_REQ_TLB_FLUSH}: 1 if the TLB must be flushed before the guest runs again. */
  private final SharedWord tlbFlushRequest;

  /** Creates vCPU number {@code id} of a VM; the caller adds it to the VM. */
  public Vcpu(Kvm kvm, int id) {
    this.kvm = kvm;
    this.id = id;
    this.guestMode = kvm.kernel().guestMode();
    this.stats = new Stats<>(kvm.kernel(), VcpuStat.class);
    this.tlbFlushRequest = kvm.kernel().word(0).named("KVM_REQ_TLB_FLUSH");
  }

  /** The VM. */
  public Kvm kvm() {
    return kvm;
  }

  /** The vCPU's number. */
  public final int id() {
    return id;
  }

  /** Whether it is in the guest, and how to get it out. */
  public final GuestMode guestMode() {
    return guestMode;
  }

  /** The vCPU's statistics. */
  public final Stats<VcpuStat> stats() {
    return stats;
  }

  /** Asks the vCPU to flush its TLB before it next enters the guest. */
  final void requestTlbFlush() {
    tlbFlushRequest.set(1);
  }

  /** Flushes the TLB if somebody asked for it ({@code kvm_check_request(KVM_REQ_TLB_FLUSH)}). */
  public final void serviceTlbFlush() {
    if (tlbFlushRequest.compareAndSet(1, 0)) {
      stats.increment(VcpuStat.TLB_FLUSH);
    }
  }

  /** The calling thread now runs this vCPU ({@code vcpu_load}). */
  public final void load() {
    RUNNING.set(this);
  }

  /** The calling thread runs no vCPU any more ({@code vcpu_put}). */
  public final void put() {
    RUNNING.remove();
  }

  /** The vCPU that the calling thread runs, or null ({@code kvm_get_running_vcpu}). */
  public static @Nullable Vcpu running() {
    return RUNNING.get();
  }
}
