package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.EntryTable;
import dev.septum.kernel.LockMode;

/** TDH.MEM.PAGE.PROMOTE: merges 512 pages into a large one; the mirror image of DEMOTE. */
final class PromoteLeaf {

  private static final SeptRules PROMOTE = new SeptRules(1, 2, LockMode.EXCLUSIVE, 0);
  private static final ImmutableSet<SeptState> TABLE =
      ImmutableSet.of(SeptState.NL_MAPPED, SeptState.NL_BLOCKED);
  private static final ImmutableSet<SeptState> PROMOTABLE =
      ImmutableSet.of(SeptState.MAPPED, SeptState.PENDING);

  private PromoteLeaf() {}

  /**
   * Makes the 512 pages below the entry that RCX names one page. RCX is then the table that is not
   * needed any more; in dynamic mode R12 and R13 are the PAMT page pair of a 2M page.
   */
  static void memPagePromote(Seamcall call) {
    if (!call.isVersion(1)) {
      return;
    }
    call.clearNestedPages();
    SeptOperand parent = SeptOperand.lock(call, PROMOTE);
    if (parent != null
        && parent.state(TABLE)
        && parent.lockPamtEntry()
        && parent.blocked()
        && parent.tracked()
        && isPromotable(call, parent)
        && parent.uninterrupted()) {
      promote(call, parent);
    }
  }

  /** Refuses unless all entries of the table map one large page, piece by piece, in one state. */
  private static boolean isPromotable(Seamcall call, SeptOperand parent) {
    EntryTable table = call.module().septPages().table(parent.slot().hpa());
    int level = parent.level() - 1;
    long first = comparable(table.get(0), level);
    long base = SeptEntry.hpa(first, level);
    boolean promotable =
        PROMOTABLE.contains(SeptState.of(first))
            && (base & SeptEntry.bytes(parent.level()) - 1) == 0;
    for (int i = 1; i < EntryTable.ENTRIES && promotable; i++) {
      promotable = comparable(table.get(i), level) == first + i * SeptEntry.bytes(level);
    }
    return promotable || parent.refuseWithEntry(TdxStatus.TDX_EPT_INVALID_PROMOTE_CONDITIONS);
  }

  /** The entry without what may differ: TDHP and accept progress. */
  private static long comparable(long entry, int level) {
    return SeptEntry.withoutAcceptCounter(entry, level) & ~SeptEntry.HOST_PRIORITY;
  }

  private static void promote(Seamcall call, SeptOperand parent) {
    long table = parent.slot().hpa();
    long first = call.module().septPages().table(table).get(0);
    long base = SeptEntry.hpa(first, parent.level() - 1);
    PamtEntry large = call.module().pamt().entry(base, parent.level());
    if (!call.lock(large, LockMode.EXCLUSIVE, OperandId.RCX)) {
      return;
    }
    PamtEntry tableEntry = parent.pamtEntry();
    parent.retire();
    mergePamt(call, large, base, parent.td().tdrHpa());
    parent.slot().write(SeptEntry.of(SeptState.of(first), base));
    call.module().septPages().forget(table);
    parent.td().childCount().addAndGet(-1);
    call.out().rcx = table | RemovalHint.of(call.module().pamt().free(tableEntry, table));
  }

  private static void mergePamt(Seamcall call, PamtEntry large, long base, long owner) {
    Pamt pamt = call.module().pamt();
    boolean hasPair = pamt.isDynamic() && large.level() == 1;
    if (!(hasPair ? large.isNode() : large.isFree())) {
      throw new IllegalStateException("PROMOTE into a page that is " + large.type());
    }
    if (hasPair) {
      call.out().r12 = large.pairPage(0);
      call.out().r13 = large.pairPage(1);
      pamt.mergeFromPair(large, base, owner);
    } else {
      pamt.mergeInPlace(large, base, owner);
    }
  }
}
