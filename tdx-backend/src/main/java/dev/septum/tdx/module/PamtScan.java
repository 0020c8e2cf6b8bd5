package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;

/** A pass over the whole PAMT, by address, for views and checkers. */
final class PamtScan {

  /** Takes an entry and the first address that it stands for. */
  interface Visitor {
    void visit(long hpa, PamtEntry entry);
  }

  private final Pamt pamt;

  private PamtScan(Pamt pamt) {
    this.pamt = pamt;
  }

  static PamtScan of(Pamt pamt) {
    return new PamtScan(pamt);
  }

  /** Every 2M entry that has a page pair. */
  void forEachNode(Visitor visitor) {
    forEachRegion(
        (hpa, entry) -> {
          if (entry.isNode()) {
            visitor.visit(hpa, entry);
          }
        });
  }

  /** Every 1G entry. */
  void forEachGib(Visitor visitor) {
    for (Tdmr tdmr : pamt.tdmrs()) {
      for (long gib = tdmr.range().base(); gib < tdmr.coveredTo(); gib += SeptEntry.bytes(2)) {
        visitor.visit(gib, pamt.entry(gib, 2));
      }
    }
  }

  /** Every 2M entry of a GiB that was ever touched. */
  void forEachRegion(Visitor visitor) {
    forEachGib((gib, entry) -> forEachRegionOf(gib, visitor));
  }

  /** Every 2M entry of this GiB, if it was ever touched. */
  void forEachRegionOf(long gib, Visitor visitor) {
    if (pamt.isUntouched(gib)) {
      return;
    }
    for (int i = 0; i < EntryTable.ENTRIES; i++) {
      long hpa = gib + i * SeptEntry.bytes(1);
      visitor.visit(hpa, pamt.entry(hpa, 1));
    }
  }

  /** Every 4K entry of the region, if it has any. */
  void forEachPage(long region, Visitor visitor) {
    PamtTable table = pamt.pagesOf(region);
    if (table != null) {
      for (int i = 0; i < EntryTable.ENTRIES; i++) {
        visitor.visit(region + i * SeptEntry.bytes(0), table.entry(i, 0));
      }
    }
  }

  /** Every leaf that is in use, of any size. */
  void forEachLeafInUse(Visitor visitor) {
    forEachGib((gib, entry) -> visitIfInUse(gib, entry, visitor));
    forEachRegion(
        (region, entry) -> {
          visitIfInUse(region, entry, visitor);
          forEachPage(region, (hpa, page) -> visitIfInUse(hpa, page, visitor));
        });
  }

  /** Every entry of any size that was ever written by itself. */
  void forEachEntry(Visitor visitor) {
    forEachGib(visitor);
    forEachRegion(
        (region, entry) -> {
          visitor.visit(region, entry);
          PamtTable table = pamt.pagesOf(region);
          if (table != null && !table.first().isUniform()) {
            forEachPage(region, visitor);
          }
        });
  }

  private static void visitIfInUse(long hpa, PamtEntry entry, Visitor visitor) {
    if (entry.isAssigned()) {
      visitor.visit(hpa, entry);
    }
  }
}
