package dev.septum.mmu;

import static com.google.common.base.Preconditions.checkState;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;

/**
 * Which gfns are being invalidated, and how often any were ({@code mmu_invalidate_*}).
 *
 * <p>A fault samples {@link #seq} before it resolves its page and asks {@link #mustRetry} under
 * mmu_lock before it maps it. Begin, add and end: mmu_lock held for write.
 */
final class MmuInvalidate {

  private final Kvm kvm;
  private final SharedWord seq;
  private final SharedWord inProgress;
  private final SharedWord rangeStart;
  private final SharedWord rangeEnd;

  MmuInvalidate(Kvm kvm) {
    this.kvm = kvm;
    this.seq = kvm.kernel().word(0).named("mmu_invalidate_seq");
    this.inProgress = kvm.kernel().word(0).named("mmu_invalidate_in_progress");
    this.rangeStart = kvm.kernel().word(0).named("mmu_invalidate_range_start");
    this.rangeEnd = kvm.kernel().word(0).named("mmu_invalidate_range_end");
  }

  /** How many invalidations have ended. Read without a lock. */
  long seq() {
    return seq.get();
  }

  /** {@code kvm_mmu_invalidate_begin}. */
  void begin() {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    if (inProgress.addAndGet(1) == 1) {
      rangeStart.set(0);
      rangeEnd.set(0);
    }
  }

  /** Widens the range until the last invalidation ends ({@code kvm_mmu_invalidate_range_add}). */
  void addRange(GfnRange range) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    checkState(isInProgress(), "no invalidation has begun");
    boolean first = rangeEnd.get() == 0;
    rangeStart.set(first ? range.start() : Math.min(rangeStart.get(), range.start()));
    rangeEnd.set(Math.max(rangeEnd.get(), range.end()));
  }

  /** {@code kvm_mmu_invalidate_end}: faults that sampled the sequence before this must retry. */
  void end() {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    seq.addAndGet(1);
    kvm.bugOn(inProgress.addAndGet(-1) < 0, "kvm->mmu_invalidate_in_progress < 0");
  }

  boolean isInProgress() {
    return inProgress.get() > 0;
  }

  /** {@code mmu_invalidate_retry_gfn}; without mmu_lock the answer is a hint. */
  boolean mustRetry(long sampledSeq, long gfn) {
    if (isInProgress() && gfn >= rangeStart.get() && gfn < rangeEnd.get()) {
      return true;
    }
    return seq.get() != sampledSeq;
  }
}
