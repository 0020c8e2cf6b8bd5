package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.SplitDesign.MirrorSplits;

/**
 * Writes SPTEs under mmu_lock held in one mode. Chosen once by whoever takes the lock.
 *
 * <p>An entry of a mirror root goes through {@link SpteFormat#FROZEN} while the backend changes the
 * external page table: old value, FROZEN, op, new value. If the op fails the old value comes back,
 * so that mirror and external page table never differ.
 */
abstract class SpteWriter {

  private static final String NO_EXTERNAL_PAGE = "mirror table without an external page";

  protected final KvmMmu mmu;
  protected final Kvm kvm;
  protected final SpteFormat format;

  private SpteWriter(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.format = mmu.format();
  }

  /** The writer for a thread that holds mmu_lock in that mode. */
  static SpteWriter forMode(KvmMmu mmu, LockMode mode) {
    return mode == LockMode.SHARED ? new Shared(mmu) : new Exclusive(mmu);
  }

  abstract LockMode mode();

  /**
   * Replaces the iterator's current entry, which must still be what the iterator saw. Not OK means
   * that nothing changed: EBUSY if somebody else changed the entry (the iterator then has the new
   * value), else what the backend returned.
   */
  final Errno set(TdpIter iter, long newSpte) {
    kvm.mmuLock().assertHeld(mode());
    if (iter.hasYielded() || iter.oldSpte() == SpteFormat.FROZEN) {
      throw new IllegalStateException("stale iterator at gfn 0x" + Long.toHexString(iter.gfn()));
    }
    return iter.isMirror() ? setMirror(iter, newSpte) : setDirect(iter, newSpte);
  }

  /**
   * Drops the table that the iterator's entry points to, TLBs flushed before anybody can put
   * something else there ({@code tdp_mmu_zap_spte_atomic}). Direct roots under read mmu_lock only.
   *
   * @return EBUSY if somebody else changed the entry; the iterator then has the new value
   */
  final Errno zapAndFlush(TdpIter iter) {
    kvm.mmuLock().assertHeld(LockMode.SHARED);
    long old = iter.oldSpte();
    if (!exchange(iter, SpteFormat.FROZEN)) {
      return Errno.EBUSY;
    }
    kvm.flushRemoteTlbs();
    iter.table().spt().set(iter.index(), SpteFormat.NONPRESENT);
    changed(iter, old, SpteFormat.NONPRESENT);
    return Errno.OK;
  }

  protected abstract Errno setDirect(TdpIter iter, long newSpte);

  protected abstract Errno setMirror(TdpIter iter, long newSpte);

  /** Puts {@code newSpte} in place of the iterator's value, or refreshes that. */
  protected final boolean exchange(TdpIter iter, long newSpte) {
    long old = iter.oldSpte();
    long found = iter.table().spt().compareAndExchange(iter.index(), old, newSpte);
    if (found != old) {
      iter.setOldSpte(found);
      return false;
    }
    return true;
  }

  /**
   * Changes a mirror entry and the external page table together ({@code
   * set_external_spte_present}).
   */
  protected final Errno setMirrorPresent(TdpIter iter, long newSpte) {
    long old = iter.oldSpte();
    boolean split =
        format.isPresentLeaf(old, iter.level()) && format.isPresentTable(newSpte, iter.level());
    if (kvm.bugOn(format.isPresent(old) && !split, "illegal change of a present mirror SPTE")) {
      return Errno.EIO;
    }
    if (!exchange(iter, SpteFormat.FROZEN)) {
      return Errno.EBUSY;
    }
    Errno error = callBackend(iter, old, newSpte);
    iter.table().spt().set(iter.index(), error.isError() ? old : newSpte);
    if (!error.isError()) {
      changed(iter, old, newSpte);
    }
    return error;
  }

  protected final void changed(TdpIter iter, long oldSpte, long newSpte) {
    mmu.changes().handle(iter.asId(), iter.gfn(), iter.level(), oldSpte, newSpte, mode());
  }

  protected final Errno callBackend(TdpIter iter, long oldSpte, long newSpte) {
    PageLevel level = iter.level();
    if (format.isLeaf(newSpte, level)) {
      return kvm.ops().setExternalSpte(kvm, iter.gfn(), level, newSpte);
    }
    MmuPage child = mmu.childPage(newSpte);
    if (kvm.bugOn(!child.hasExternalSpt(), NO_EXTERNAL_PAGE)) {
      return Errno.EIO;
    }
    long externalSpt = child.externalSpt();
    return format.isPresent(oldSpte)
        ? kvm.ops().splitExternalSpte(kvm, iter.gfn(), level, oldSpte, externalSpt, mode())
        : kvm.ops().linkExternalSpt(kvm, iter.gfn(), level, externalSpt);
  }

  /** mmu_lock held for read: others write too ({@code tdp_mmu_set_spte_atomic}). */
  private static final class Shared extends SpteWriter {

    Shared(KvmMmu mmu) {
      super(mmu);
    }

    @Override
    LockMode mode() {
      return LockMode.SHARED;
    }

    @Override
    protected Errno setDirect(TdpIter iter, long newSpte) {
      long old = iter.oldSpte();
      if (!exchange(iter, newSpte)) {
        return Errno.EBUSY;
      }
      changed(iter, old, newSpte);
      return Errno.OK;
    }

    @Override
    protected Errno setMirror(TdpIter iter, long newSpte) {
      if (kvm.bugOn(!format.isPresent(newSpte), "mirror SPTE zapped under read mmu_lock")) {
        return Errno.EBUSY;
      }
      return setMirrorPresent(iter, newSpte);
    }
  }

  /** mmu_lock held for write: nobody else writes but hardware ({@code tdp_mmu_set_spte}). */
  private static final class Exclusive extends SpteWriter {

    Exclusive(KvmMmu mmu) {
      super(mmu);
    }

    @Override
    LockMode mode() {
      return LockMode.EXCLUSIVE;
    }

    @Override
    protected Errno setDirect(TdpIter iter, long newSpte) {
      changed(iter, iter.table().spt().getAndSet(iter.index(), newSpte), newSpte);
      return Errno.OK;
    }

    @Override
    protected Errno setMirror(TdpIter iter, long newSpte) {
      if (format.isPresent(newSpte)) {
        return mmu.params().splitDesign().mirrorSplits() == MirrorSplits.EXTERNAL_FIRST
            ? setMirrorPresent(iter, newSpte)
            : setMirrorThenExternal(iter, newSpte);
      }
      long old = iter.table().spt().getAndSet(iter.index(), newSpte);
      changed(iter, old, newSpte);
      if (format.isPresentLeaf(old, iter.level())) {
        kvm.ops().removeExternalSpte(kvm, iter.gfn(), iter.level(), old);
      }
      return Errno.OK;
    }

    /**
     * As posted: the backend is called with a page or without, and its answer comes too late to
     * matter.
     */
    private Errno setMirrorThenExternal(TdpIter iter, long newSpte) {
      long old = iter.table().spt().getAndSet(iter.index(), newSpte);
      changed(iter, old, newSpte);
      boolean split =
          format.isPresentLeaf(old, iter.level()) && format.isPresentTable(newSpte, iter.level());
      if (!kvm.bugOn(!split, "illegal change of a mirror SPTE")) {
        MmuPage child = mmu.childPage(newSpte);
        kvm.bugOn(!child.hasExternalSpt(), NO_EXTERNAL_PAGE);
        kvm.ops()
            .splitExternalSpte(
                kvm, iter.gfn(), iter.level(), old, child.externalSpt(), LockMode.EXCLUSIVE);
      }
      return Errno.OK;
    }
  }
}
