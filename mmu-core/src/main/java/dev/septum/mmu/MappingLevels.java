package dev.septum.mmu;

import dev.septum.kvm.PageLevel;

/** How large a page may be mapped ({@code kvm_mmu_max_mapping_level} and the two adjustments). */
final class MappingLevels {

  private final KvmMmu mmu;

  MappingLevels(KvmMmu mmu) {
    this.mmu = mmu;
  }

  /**
   * Sets the fault's requested and goal levels ({@code kvm_mmu_hugepage_adjust}). mmu_lock held.
   */
  void adjust(PageFault fault) {
    if (fault.isExec() && fault.isNxWorkaround()) {
      fault.disallowHugePage();
    }
    Memslot slot = fault.slot();
    if (fault.maxLevel() == PageLevel.LEVEL_4K
        || slot == null
        || !fault.hasPfn()
        || slot.isLogging()) {
      return;
    }
    PageLevel level = maxLevel(fault, slot);
    fault.setReqLevel(level);
    if (level == PageLevel.LEVEL_4K || fault.isHugePageDisallowed()) {
      return;
    }
    if (((fault.gfn() ^ fault.pfn()) & (level.pages() - 1)) != 0) {
      throw new IllegalStateException(
          "gfn 0x%x and pfn 0x%x differ below level %s".formatted(fault.gfn(), fault.pfn(), level));
    }
    fault.raiseGoal(level);
  }

  private PageLevel maxLevel(PageFault fault, Memslot slot) {
    PageLevel level = allowed(slot, fault.gfn(), fault.maxLevel());
    if (level == PageLevel.LEVEL_4K) {
      return level;
    }
    PageLevel backing =
        fault.isPrivate()
            ? mmu.kvm().ops().gmemMaxMappingLevel(mmu.kvm(), fault.pfn(), true)
            : mmu.hostMm().mappingLevel(slot.hva(fault.gfn()));
    return backing == PageLevel.NONE ? level : PageLevel.min(level, backing);
  }

  /**
   * How large a page could be mapped around a gfn if it were mapped now ({@code
   * kvm_mmu_max_mapping_level} without a fault); private memory is never merged. mmu_lock held.
   */
  PageLevel maxLevel(Memslot slot, long gfn) {
    PageLevel level = allowed(slot, gfn, PageLevel.LEVEL_1G);
    return level == PageLevel.LEVEL_4K || mmu.attributes().isPrivate(gfn)
        ? PageLevel.LEVEL_4K
        : PageLevel.min(level, mmu.hostMm().mappingLevel(slot.hva(gfn)));
  }

  private static PageLevel allowed(Memslot slot, long gfn, PageLevel largest) {
    PageLevel level = largest;
    while (level != PageLevel.LEVEL_4K && !slot.lpage(level).isAllowed(gfn)) {
      level = level.below();
    }
    return level;
  }

  /**
   * Lowers the goal where a table must stay a table: one made because of NX huge pages, and every
   * table of a mirror, which is never merged again ({@code disallowed_hugepage_adjust}).
   */
  void keepTable(PageFault fault, TdpIter iter) {
    if (iter.level() == PageLevel.LEVEL_4K
        || iter.level() != fault.goalLevel()
        || !mmu.format().isPresentTable(iter.oldSpte(), iter.level())) {
      return;
    }
    MmuPage child = mmu.childPage(iter.oldSpte());
    if (child.isMirror() || (fault.isNxWorkaround() && child.isNxHugePageDisallowed())) {
      fault.lowerGoal();
    }
  }
}
