package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;

/** What a guest's ACCEPT asks of the MMU before memory is mapped for it. */
public final class GuestAccept {

  private GuestAccept() {}

  /**
   * Makes an ACCEPT possible at the level that the guest asked for ({@code
   * tdx_honor_guest_accept_level}): the leaf around it is split, and no larger one mapped ever
   * again. Takes mmu_lock in that mode, and drops it meanwhile.
   *
   * <p>Under the read lock a fault of another vCPU may map a leaf after the split found none and
   * before the flags are set, or while the lock was dropped. The fault that follows this meets that
   * leaf and splits it: the flags keep it from being joined again, and nothing relies on more.
   *
   * @return what the split returned; a failure leaves the leaf as it was
   */
  public static Errno honorLevel(KvmMmu mmu, long gfn, PageLevel level, LockMode mode) {
    Memslot slot = mmu.memslots().find(gfn);
    if (slot == null || level.isAbove(PageLevel.LEVEL_2M)) {
      return Errno.OK;
    }
    // Set only after the split and never cleared, so without a lock a set flag can be believed.
    if (slot.hasGuestInhibit(gfn, level.above())) {
      return Errno.OK;
    }
    mmu.kvm().mmuLock().lock(mode);
    try {
      Errno error =
          mmu.splitCrossBoundaryLeafs(
              GfnRange.ofPages(level.alignDown(gfn), level.pages()), mode, SplitCause.GUEST_ACCEPT);
      if (error.isError()) {
        return error;
      }
      // The level that is asked for without a lock comes last.
      slot.setGuestInhibit(gfn, PageLevel.LEVEL_1G);
      slot.setGuestInhibit(gfn, level.above());
      return Errno.OK;
    } finally {
      mmu.kvm().mmuLock().unlock(mode);
    }
  }
}
