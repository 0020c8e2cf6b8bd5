package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;

/**
 * What follows from a changed SPTE: the trace event, the page statistics, and the end of a subtree
 * that nothing points to any more ({@code handle_changed_spte}, {@code handle_removed_pt}).
 *
 * <p>Called right after the entry was written; mmu_lock held as {@code mode} says.
 */
final class SpteChanges {

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final SpteFormat format;

  SpteChanges(KvmMmu mmu) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.format = mmu.format();
  }

  void handle(int asId, long gfn, PageLevel level, long oldSpte, long newSpte, LockMode mode) {
    boolean wasPresent = format.isPresent(oldSpte);
    boolean isPresent = format.isPresent(newSpte);
    boolean wasLeaf = wasPresent && format.isLeaf(oldSpte, level);
    boolean isLeaf = isPresent && format.isLeaf(newSpte, level);
    boolean pfnChanged = format.pfn(oldSpte) != format.pfn(newSpte);

    if (wasLeaf && isLeaf && pfnChanged) {
      throw new IllegalStateException(
          "gfn 0x%x level %d: a present leaf changed its pfn, %x -> %x"
              .formatted(gfn, level.number(), oldSpte, newSpte));
    }
    if (oldSpte == newSpte) {
      return;
    }
    mmu.trace().spteChanged(asId, gfn, level, oldSpte, newSpte);
    if (isLeaf) {
      kvm.bugOn(!format.isWritabilityConsistent(newSpte), "writable SPTE without HOST_WRITABLE");
    }
    if (!wasPresent && !isPresent) {
      kvm.bugOn(
          !format.isMmio(oldSpte) && !format.isMmio(newSpte) && newSpte != SpteFormat.FROZEN,
          "unexpected SPTE change between non-present values");
      return;
    }
    if (wasLeaf != isLeaf) {
      kvm.stats().add(VmStat.pages(level), isLeaf ? 1 : -1);
    }
    if (wasPresent && !wasLeaf && (isLeaf || !isPresent || pfnChanged)) {
      removeTable(asId, mmu.childPage(oldSpte), mode);
    }
  }

  /** Takes down a table that was just unlinked, entry by entry, and frees it after RCU readers. */
  private void removeTable(int asId, MmuPage page, LockMode mode) {
    mmu.trace().prepareZapPage(page);
    mmu.nxHugePages().untrack(page);
    PageLevel level = page.role().level();
    for (int i = 0; i < EntryTable.ENTRIES; i++) {
      long gfn = page.gfn() + i * level.pages();
      long old = freezeEntry(page.spt(), i, mode);
      if (mode == LockMode.EXCLUSIVE && !format.isPresent(old)) {
        continue;
      }
      handle(asId, gfn, level, old, SpteFormat.FROZEN, mode);
      if (page.isMirror()
          && format.isPresentLeaf(old, level)
          && !kvm.bugOn(mode == LockMode.SHARED, "mirror leaf removed under read mmu_lock")) {
        kvm.ops().removeExternalSpte(kvm, gfn, level, old);
      }
    }
    if (page.hasExternalSpt()
        && kvm.ops().freeExternalSpt(kvm, page.gfn(), level, page.externalSpt()).isError()) {
      // The module keeps the page: leak it rather than hand it out a second time.
      page.forgetExternalSpt();
    }
    mmu.freeAfterGracePeriod(page);
  }

  private long freezeEntry(EntryTable table, int index, LockMode mode) {
    if (mode == LockMode.EXCLUSIVE) {
      long old = table.get(index);
      if (format.isPresent(old)) {
        table.set(index, SpteFormat.FROZEN);
      }
      return old;
    }
    while (true) {
      // A frozen entry is in another thread's hands: wait until that thread is done with it.
      long old = table.getAndSet(index, SpteFormat.FROZEN);
      if (old != SpteFormat.FROZEN) {
        return old;
      }
      kvm.kernel().condResched();
    }
  }
}
