package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;

/**
 * 512 neighbouring PAMT entries of 16 bytes, as two tables of quadwords. At the 4K level of dynamic
 * mode this is the content of one page pair.
 *
 * @param first lock, page type and owner
 * @param second BEPOCH, or for a node PAGE_COUNT and the second page
 */
record PamtTable(EntryTable first, EntryTable second) {

  /** Entries that are all free. */
  static PamtTable free(Kernel kernel) {
    return new PamtTable(
        kernel.entryTable(0, 0).named("PAMT entries"),
        kernel.entryTable(0, 0).named("PAMT BEPOCHs"));
  }

  /** Entries that are all assigned alike, unlocked, with BEPOCH 0. */
  static PamtTable assigned(Kernel kernel, PageType type, long owner) {
    return new PamtTable(
        kernel.entryTable(PamtEntry.leaf(type, owner), 0).named("PAMT entries"),
        kernel.entryTable(0, 0).named("PAMT BEPOCHs"));
  }

  PamtEntry entry(int index, int level) {
    return new PamtEntry(this, index, level);
  }

  /** Whether all 512 entries are free. */
  boolean isFree() {
    if (first.isUniform()) {
      return entry(0, 0).isFree();
    }
    return assignedEntries() == 0;
  }

  /** How many of the 512 entries are not free. */
  int assignedEntries() {
    int assigned = 0;
    for (int i = 0; i < EntryTable.ENTRIES; i++) {
      assigned += entry(i, 0).isFree() ? 0 : 1;
    }
    return assigned;
  }

  /** Whether the half that page {@code page} of a pair holds is all free. */
  boolean isHalfFree(int page) {
    for (int i = 256 * page; i < 256 * (page + 1); i++) {
      if (!entry(i, 0).isFree()) {
        return false;
      }
    }
    return true;
  }
}
