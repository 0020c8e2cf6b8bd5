package dev.septum.mmu;

import dev.septum.kvm.Errno;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VcpuStat;
import org.jspecify.annotations.Nullable;

/**
 * A vCPU of an ordinary VM as hardware runs it: it walks the direct root for each access, sets the
 * accessed and dirty bits, and exits to KVM for what the walk does not allow ({@code
 * vcpu_enter_guest} and the nested page fault exit).
 *
 * <p>It has no TLB: every access walks. Used by the vCPU's own thread, no lock held.
 */
public final class GuestCpu {

  /** {@code PFERR_GUEST_FINAL}: the fault is on the guest's own access, not on its page tables. */
  private static final long GUEST_FINAL = 1L << 32;

  /** How an access ended. */
  public enum Result {
    /** The guest read or wrote memory. */
    DONE,
    /** There is no memory: user space must do it ({@code KVM_EXIT_MMIO}). */
    MMIO,
    /** User space must empty the dirty ring first ({@code KVM_EXIT_DIRTY_RING_FULL}). */
    DIRTY_RING_FULL,
    /** Something that KVM_RUN returns an error for; {@link Access#error} says which. */
    ERROR
  }

  /**
   * What became of an access.
   *
   * @param error the errno of KVM_RUN, OK unless {@code result} is ERROR
   * @param memoryFault what user space must put right first, or null
   */
  public record Access(Result result, Errno error, FaultOutcome.@Nullable MemoryFault memoryFault) {
    private static final Access DONE = new Access(Result.DONE, Errno.OK, null);
    private static final Access RING_FULL = new Access(Result.DIRTY_RING_FULL, Errno.OK, null);
    private static final Access MMIO = new Access(Result.MMIO, Errno.OK, null);
  }

  /** What the hardware walk found. */
  private enum Walk {
    ALLOWED,
    NOT_PRESENT,
    NOT_PERMITTED,
    RESERVED
  }

  private final KvmMmu mmu;
  private final VcpuMmu vcpuMmu;
  private final Vcpu vcpu;
  private final SpteFormat format;

  /** {@code KVM_REQ_TLB_FLUSH_GUEST}: a new vCPU has one pending. */
  private boolean guestFlushRequest = true;

  /** The processor that runs this vCPU. */
  public GuestCpu(VcpuMmu vcpuMmu) {
    this.mmu = vcpuMmu.mmu();
    this.vcpuMmu = vcpuMmu;
    this.vcpu = vcpuMmu.vcpu();
    this.format = mmu.format();
  }

  /**
   * Lets the guest access an address until it is done or user space is needed.
   *
   * @param gpa bytes
   * @param rip the instruction's address, for traces
   */
  public Access access(AccessKind kind, long gpa, long rip) {
    while (true) {
      Errno error = mmu.kvm().isBugged() ? Errno.EIO : vcpuMmu.load();
      if (error.isError()) {
        return failed(error, null);
      }
      serviceTlbFlushes();
      DirtyRing ring = vcpuMmu.dirtyRing();
      if (ring != null && ring.isSoftFull()) {
        return Access.RING_FULL;
      }
      Walk walk = runGuest(kind, gpa);
      if (walk == Walk.ALLOWED) {
        return Access.DONE;
      }
      Access access = exit(kind, gpa, rip, walk);
      if (access != null) {
        return access;
      }
      // Whoever made the fault retry must get on.
      mmu.kvm().kernel().condResched();
    }
  }

  /** The guest left for user space with a port access, as a test program does at its end. */
  public void portExit() {
    serviceTlbFlushes();
    vcpu.stats().increment(VcpuStat.EXITS);
    vcpu.stats().increment(VcpuStat.IO_EXITS);
  }

  private void serviceTlbFlushes() {
    vcpu.serviceTlbFlush();
    if (guestFlushRequest) {
      guestFlushRequest = false;
      vcpu.stats().increment(VcpuStat.TLB_FLUSH);
    }
  }

  private Walk runGuest(AccessKind kind, long gpa) {
    vcpu.guestMode().enter();
    mmu.kvm().kernel().rcu().readLock();
    try {
      return walk(kind, gpa);
    } finally {
      mmu.kvm().kernel().rcu().readUnlock();
      vcpu.guestMode().leave();
    }
  }

  private Walk walk(AccessKind kind, long gpa) {
    PageFault access = new PageFault(mmu, gpa, errorCode(kind, Walk.ALLOWED), false);
    while (true) {
      TdpIter iter = TdpIter.lastEntry(mmu, vcpuMmu.directRoot(), gpa >>> 12);
      long spte = iter.oldSpte();
      if (!format.isPresentLeaf(spte, iter.level())) {
        return format.isMmio(spte) ? Walk.RESERVED : Walk.NOT_PRESENT;
      }
      if (!format.isAccessAllowed(access, spte)) {
        return format.isAccessTracked(spte) ? Walk.NOT_PRESENT : Walk.NOT_PERMITTED;
      }
      long used = kind == AccessKind.WRITE ? format.afterWrite(spte) : format.afterRead(spte);
      // The processor sets A and D with a locked operation; if the entry changed, it walks again.
      if (used == spte || iter.table().spt().compareAndExchange(iter.index(), spte, used) == spte) {
        return Walk.ALLOWED;
      }
    }
  }

  /** Handles a nested page fault; null if the guest is to try again. */
  private @Nullable Access exit(AccessKind kind, long gpa, long rip, Walk walk) {
    long errorCode = errorCode(kind, walk);
    vcpu.stats().increment(VcpuStat.EXITS);
    mmu.traceFault(vcpu, rip, gpa, errorCode);
    FaultOutcome outcome = mmu.handleFault(vcpuMmu, gpa, errorCode);
    return switch (outcome.result()) {
      case ERROR -> failed(outcome.error(), outcome.memoryFault());
      case EMULATE -> emulate(kind, gpa);
      default -> null;
    };
  }

  /** {@code x86_emulate_instruction} for an instruction that reads or writes memory once. */
  private Access emulate(AccessKind kind, long gpa) {
    vcpu.stats().increment(VcpuStat.INSN_EMULATION);
    if (kind == AccessKind.EXEC) {
      // There is no instruction to emulate: KVM_EXIT_INTERNAL_ERROR.
      return failed(Errno.EFAULT, null);
    }
    if (vcpuMmu.mmioCache().matches(gpa)) {
      mmu.trace().matchMmio(gpa, kind == AccessKind.WRITE);
    } else {
      Memslot slot = mmu.memslots().find(vcpuMmu.asId(), gpa >>> 12);
      if (slot != null && (kind == AccessKind.READ || !slot.isReadOnly())) {
        return Access.DONE;
      }
    }
    vcpu.stats().increment(VcpuStat.MMIO_EXITS);
    return Access.MMIO;
  }

  private static Access failed(Errno error, FaultOutcome.@Nullable MemoryFault memoryFault) {
    return new Access(Result.ERROR, error, memoryFault);
  }

  private static long errorCode(AccessKind kind, Walk walk) {
    long access =
        switch (kind) {
          case READ -> 0;
          case WRITE -> PageFault.WRITE;
          case EXEC -> PageFault.FETCH;
        };
    long found =
        switch (walk) {
          case NOT_PERMITTED -> PageFault.PRESENT;
          case RESERVED -> PageFault.RSVD;
          default -> 0;
        };
    return GUEST_FINAL | PageFault.USER | access | found;
  }
}
