package dev.septum.mmu;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.PageLevel;

/**
 * The tables of a slot that one huge leaf could replace, largest first.
 *
 * <p>The walk that {@link ZapCollapsible} and {@link RecoverInPlace} share: a table qualifies if it
 * lies in the slot and host, slot and attributes allow a leaf of its parent entry's level.
 */
final class CollapsibleTables {

  /** What to do with one of the tables; true if the entry must be looked at again. */
  interface Visitor {
    boolean collapse(TdpIter iter);
  }

  private final KvmMmu mmu;
  private final Memslot slot;
  private final MappingLevels levels;

  CollapsibleTables(KvmMmu mmu, Memslot slot) {
    this.mmu = mmu;
    this.slot = slot;
    this.levels = new MappingLevels(mmu);
  }

  /**
   * Visits the tables under a root. mmu_lock held for read and dropped when others wait.
   *
   * @param beforeYield runs before the lock is dropped
   */
  void visit(MmuPage root, Runnable beforeYield, Visitor visitor) {
    TdpIter iter =
        new TdpIter(mmu, root, PageLevel.LEVEL_2M, slot.gfns().start(), slot.gfns().end());
    while (iter.isValid()) {
      boolean again = false;
      if (iter.needResched()) {
        beforeYield.run();
        iter.resched(LockMode.SHARED);
      } else if (isCollapsible(iter)) {
        again = visitor.collapse(iter);
      }
      if (!again) {
        iter.next();
      }
    }
  }

  private boolean isCollapsible(TdpIter iter) {
    return !iter.level().isAbove(PageLevel.LEVEL_1G)
        && mmu.format().isPresentTable(iter.oldSpte(), iter.level())
        && slot.gfns().contains(iter.gfn())
        && !iter.level().isAbove(levels.maxLevel(slot, iter.gfn()));
  }
}
