package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;

/**
 * The secure EPT of one TD.
 *
 * <p>Readers walk without a lock: a table stays while an entry points to it, and TLB tracking keeps
 * it until no walker inside the TD can still be in it.
 */
final class SecureEpt {

  private final SeptPages pages;
  private final long rootHpa;
  private final int topLevel;

  /**
   * The tree under {@code rootHpa}.
   *
   * @param topLevel the level of the root's entries: EPTP.PWL, 3 or 4
   */
  SecureEpt(SeptPages pages, long rootHpa, int topLevel) {
    this.pages = pages;
    this.rootHpa = rootHpa;
    this.topLevel = topLevel;
  }

  /** Takes each entry of each table, parents first. */
  interface Visitor {
    void visit(SeptSlot slot);
  }

  /** The level of the root's entries. */
  int topLevel() {
    return topLevel;
  }

  long rootHpa() {
    return rootHpa;
  }

  /**
   * The entry for {@code gpa} at {@code level}, or a larger one where the walk ends early: at a
   * leaf, or at an entry without permissions, which NL_BLOCKED is too.
   */
  SeptSlot walk(long gpa, int level) {
    EntryTable table = pages.table(rootHpa);
    for (int at = topLevel; ; at--) {
      SeptSlot slot = slot(table, gpa, at);
      long entry = slot.entry();
      if (at == level || !SeptEntry.isPresent(entry) || SeptState.of(entry).isLeaf()) {
        return slot;
      }
      table = pages.table(SeptEntry.hpa(entry, at));
    }
  }

  /** Shows every entry that is in use to {@code visitor}, those below NL_BLOCKED ones too. */
  void forEachInUse(Visitor visitor) {
    forEachInUse(rootHpa, topLevel, 0, visitor);
  }

  private void forEachInUse(long tableHpa, int level, long gpa, Visitor visitor) {
    EntryTable table = pages.find(tableHpa);
    if (table == null || (table.isUniform() && !SeptState.of(table.get(0)).isInUse())) {
      return;
    }
    for (int i = 0; i < EntryTable.ENTRIES; i++) {
      SeptSlot slot = new SeptSlot(table, i, level, gpa + i * SeptEntry.bytes(level));
      SeptState state = slot.state();
      if (state.isInUse()) {
        visitor.visit(slot);
      }
      if (state.isInUse() && !state.isLeaf() && level > 0) {
        forEachInUse(slot.hpa(), level - 1, slot.gpa(), visitor);
      }
    }
  }

  private static SeptSlot slot(EntryTable table, long gpa, int level) {
    int index = (int) (gpa >>> (12 + 9 * level)) & (EntryTable.ENTRIES - 1);
    return new SeptSlot(table, index, level, gpa & -SeptEntry.bytes(level));
  }
}
