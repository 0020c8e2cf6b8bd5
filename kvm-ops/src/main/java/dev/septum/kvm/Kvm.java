package dev.septum.kvm;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SharedWord;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A VM ({@code struct kvm}): its locks, its statistics, its vCPUs, and whether it is bugged.
 *
 * <p>A backend's own state is a subclass of this, as {@code container_of} has it.
 */
public class Kvm {

  private final int id;
  private final Host host;
  private final GuardedOps ops;
  private final VmType type;
  private final RwLock mmuLock;
  private final Mutex slotsLock;
  private final Stats<VmStat> stats;
  private final List<Vcpu> vcpus = new ArrayList<>();
  private final SharedWord bugged;
  private volatile @Nullable Splat splat;
  private volatile @Nullable Breach breach;

  /** Creates a VM of the given host; {@code id} names it in traces and reports. */
  public Kvm(int id, Host host, KvmX86Ops ops, VmType type) {
    this.id = id;
    this.host = host;
    this.ops = new GuardedOps(ops);
    this.type = type;
    this.mmuLock = host.kernel().rwLock(LockClass.MMU_LOCK);
    this.slotsLock = host.kernel().mutex(LockClass.SLOTS_LOCK);
    this.stats = new Stats<>(host.kernel(), VmStat.class);
    this.bugged = host.kernel().word(0).named("vm_bugged");
  }

  /** The VM's number. */
  public final int id() {
    return id;
  }

  /** The machine it runs on. */
  public final Host host() {
    return host;
  }

  /** The host's kernel. */
  public final Kernel kernel() {
    return host.kernel();
  }

  /** The host's memory. */
  public final PageAllocator pages() {
    return host.pages();
  }

  /**
   * The ops of the backend that this VM uses. A call without its locks is a violation; a backend
   * that breaks the contract bugs the VM.
   */
  public final KvmX86Ops ops() {
    return ops;
  }

  /**
   * Has every later call of an op go through a watcher, which passes it on: for checkers. Called
   * while nothing else happens to the VM.
   */
  public final void watchOps(UnaryOperator<KvmX86Ops> watcher) {
    ops.watch(watcher);
  }

  /** What kind of VM it is. */
  public final VmType type() {
    return type;
  }

  /** {@code kvm->mmu_lock}. */
  public final RwLock mmuLock() {
    return mmuLock;
  }

  /** {@code kvm->slots_lock}. */
  public final Mutex slotsLock() {
    return slotsLock;
  }

  /** The VM's statistics. */
  public final Stats<VmStat> stats() {
    return stats;
  }

  /** Adds a vCPU. Called before any vCPU runs. */
  public final void addVcpu(Vcpu vcpu) {
    vcpus.add(vcpu);
  }

  /** The vCPUs in order of their ids. */
  public final List<Vcpu> vcpus() {
    return ImmutableList.copyOf(vcpus);
  }

  /**
   * Makes every vCPU leave the guest and waits until all have ({@code
   * kvm_make_all_cpus_request(KVM_REQ_OUTSIDE_GUEST_MODE)}); returns how many had to.
   */
  public final int kickAllVcpus() {
    int kicked = 0;
    for (Vcpu vcpu : vcpus) {
      if (vcpu.guestMode().kickAndWait()) {
        kicked++;
      }
    }
    return kicked;
  }

  /**
   * Flushes every vCPU's TLB ({@code kvm_flush_remote_tlbs}). Leaves the event {@code
   * flush_remote_tlbs}, as a probe on the function does.
   */
  public final void flushRemoteTlbs() {
    if (host.trace().isOn()) {
      host.trace().event("flush_remote_tlbs", "");
    }
    stats.increment(VmStat.REMOTE_TLB_FLUSH_REQUESTS);
    boolean inGuest = false;
    for (Vcpu vcpu : vcpus) {
      vcpu.requestTlbFlush();
      inGuest |= vcpu.guestMode().isInGuest();
    }
    if (inGuest) {
      stats.increment(VmStat.REMOTE_TLB_FLUSH);
    }
  }

  /**
   * Marks the VM bugged if {@code condition} holds, and returns the condition ({@code KVM_BUG_ON}).
   * The first time leaves a report. Does not return from the caller by itself.
   */
  public final boolean bugOn(boolean condition, String expression) {
    if (condition && bugged.compareAndSet(0, 1)) {
      splat = Splat.here(id, expression);
    }
    return condition;
  }

  /** Marks the VM bugged for what its backend did, with a report of where that was. */
  final void breach(Breach what, Throwable where) {
    if (breach == null) {
      breach = what;
    }
    if (bugged.compareAndSet(0, 1)) {
      splat = Splat.of(id, what.text(), where);
    }
  }

  /** The first breach of the contract by the VM's backend, or null. */
  public final @Nullable Breach breach() {
    return breach;
  }

  /** Whether an invariant of this VM was broken: every later ioctl fails with EIO. */
  public final boolean isBugged() {
    return bugged.get() != 0;
  }

  /** The report of the first broken invariant, or null. */
  public final @Nullable Splat splat() {
    return splat;
  }
}
