package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;

/** TDH.MEM.PAGE.DEMOTE: splits a large page. */
final class DemoteLeaf {

  private static final long SPARSE = 1;
  private static final SeptRules DEMOTE = new SeptRules(1, 2, LockMode.SHARED, SPARSE);
  private static final ImmutableSet<SeptState> LEAFS =
      ImmutableSet.of(
          SeptState.MAPPED, SeptState.BLOCKED, SeptState.PENDING, SeptState.PENDING_BLOCKED);

  private DemoteLeaf() {}

  /**
   * TDH.MEM.PAGE.DEMOTE: splits the large page at RCX into 512, with R8 as the new S-EPT table and,
   * for a 2M page in dynamic mode, R12 and R13 as the new PAMT page pair.
   *
   * <p>With {@link TdxModuleConfig#nonBlockingResize} an unblocked leaf is split as it is, without
   * TLB tracking: old and new translations agree. A blocked one still has to be tracked.
   */
  static void memPageDemote(Seamcall call) {
    SeptOperand large = SeptOperand.lock(call, DEMOTE);
    if (large == null || !large.state(LEAFS) || !isSettled(call, large)) {
      return;
    }
    PageOperand table = PageOperand.lockFree(call, call.in().r8, OperandId.R8);
    if (table != null && runsThrough(call, large) && splitPamt(call, large)) {
      splitEntry(call, large, table);
    }
  }

  private static boolean isSettled(Seamcall call, SeptOperand large) {
    boolean splitsAsItIs =
        call.module().config().nonBlockingResize() && !large.slot().state().isBlocked();
    return splitsAsItIs || (large.blocked() && large.tracked());
  }

  /** Before 1.5.28 an event that is pending, or a host that waits for the tree, stops DEMOTE. */
  private static boolean runsThrough(Seamcall call, SeptOperand large) {
    return call.module().config().enhancedDemoteInterruptibility() || large.uninterrupted();
  }

  private static boolean splitPamt(Seamcall call, SeptOperand large) {
    if (!large.lockPamtEntry()) {
      return false;
    }
    PamtEntry entry = large.pamtEntry();
    Pamt pamt = call.module().pamt();
    long hpa = large.slot().hpa();
    boolean takesPair = pamt.isDynamic() && large.level() == 1;
    long page0 = call.in().r12;
    long page1 = call.in().r13;
    if (takesPair && !PagePairOperand.claim(call, page0, page1)) {
      return false;
    }
    if (large.slot().state().isBlocked()) {
      large.retire();
    }
    if (takesPair) {
      pamt.splitIntoPair(entry, hpa, page0, page1);
    } else {
      pamt.splitInPlace(entry, hpa);
    }
    return true;
  }

  /** Builds the new table aside, then publishes it in one write of the parent entry. */
  private static void splitEntry(Seamcall call, SeptOperand large, PageOperand table) {
    SeptSlot slot = large.slot();
    long leaf = SeptEntry.of(slot.state().unblocked(), slot.hpa());
    call.module().septPages().fillSplit(table.hpa(), leaf, large.level());
    takeOver(call, large, table);
    slot.write(SeptEntry.of(SeptState.NL_MAPPED, table.hpa()));
  }

  private static void takeOver(Seamcall call, SeptOperand large, PageOperand table) {
    long staleEpoch = table.entry().blockingEpoch();
    table.assign(call, PageType.EPT, large.td());
    table.entry().setBlockingEpoch(staleEpoch);
  }
}
