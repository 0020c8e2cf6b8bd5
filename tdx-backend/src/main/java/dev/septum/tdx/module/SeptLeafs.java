package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.EntryTable;
import dev.septum.kernel.LockMode;

/** The leafs that build, read and remove the tables of the S-EPT. */
final class SeptLeafs {

  private static final long ALLOW_EXISTING = 1;
  private static final long READ_L2 = 1;
  private static final long NOT_USED = 1L << 63;
  private static final SeptRules ADD =
      new SeptRules(1, SeptRules.TOP, LockMode.SHARED, ALLOW_EXISTING);
  private static final SeptRules READ = new SeptRules(0, SeptRules.TOP, LockMode.SHARED, READ_L2);
  private static final SeptRules REMOVE = new SeptRules(1, SeptRules.TOP, LockMode.EXCLUSIVE, 0);
  private static final ImmutableSet<SeptState> TABLE =
      ImmutableSet.of(SeptState.NL_MAPPED, SeptState.NL_BLOCKED);
  private static final ImmutableSet<SeptState> FREE_OR_TABLE =
      ImmutableSet.of(SeptState.FREE, SeptState.NL_MAPPED);

  private SeptLeafs() {}

  /**
   * TDH.MEM.SEPT.ADD: makes page R8 the table below the entry that RCX names. Version 1 may come
   * without a page; its L2 pages R9 to R11 must be NULL_PA, since there are no nested VMs.
   */
  static void memSeptAdd(Seamcall call) {
    if (!call.isVersion(1)) {
      return;
    }
    SeptOperand parent = SeptOperand.lock(call, ADD);
    if (parent == null || !parent.state(FREE_OR_TABLE)) {
      return;
    }
    boolean isFree = parent.slot().state() == SeptState.FREE;
    if (call.in().r8 == Seamcall.NULL_PA) {
      addNothing(call, parent, isFree);
    } else if (isFree) {
      addTable(call, parent);
    } else {
      tableExists(call, parent);
    }
  }

  /** TDH.MEM.SEPT.RD: shows the entry that RCX names. */
  static void memSeptRd(Seamcall call) {
    SeptOperand operand = SeptOperand.lock(call, READ);
    boolean asksForL2 = (call.in().rdx & READ_L2) != 0;
    if (operand != null
        && call.require(
            !asksForL2 || operand.td().params().isDebug(),
            TdxStatus.TDX_OPERAND_INVALID,
            OperandId.RDX)) {
      operand.showEntry();
      call.out().r8 = 0;
    }
  }

  /** TDH.MEM.SEPT.REMOVE: takes the empty table below the entry that RCX names, into RCX. */
  static void memSeptRemove(Seamcall call) {
    if (!call.isVersion(1)) {
      return;
    }
    call.clearNestedPages();
    SeptOperand parent = SeptOperand.lock(call, REMOVE);
    if (parent != null
        && parent.state(TABLE)
        && parent.lockPamtEntry()
        && parent.blocked()
        && parent.tracked()
        && isEmpty(call, parent)) {
      removeTable(call, parent);
    }
  }

  private static boolean isEmpty(Seamcall call, SeptOperand parent) {
    boolean removedToo = call.module().config().release().removesTablesWithRemovedEntries();
    EntryTable table = call.module().septPages().table(parent.slot().hpa());
    for (int i = 0; i < EntryTable.ENTRIES; i++) {
      SeptState state = SeptState.of(table.get(i));
      if (state != SeptState.FREE && !(removedToo && state == SeptState.REMOVED)) {
        return parent.refuseWithEntry(TdxStatus.TDX_EPT_PAGE_NOT_FREE);
      }
    }
    return true;
  }

  private static void removeTable(Seamcall call, SeptOperand parent) {
    parent.retire();
    long hpa = parent.slot().hpa();
    PamtEntry entry = parent.pamtEntry();
    parent.slot().write(SeptEntry.FREE);
    call.module().septPages().forget(hpa);
    parent.td().childCount().addAndGet(-1);
    call.out().rcx = hpa | RemovalHint.of(call.module().pamt().free(entry, hpa));
  }

  private static void addTable(Seamcall call, SeptOperand parent) {
    long hpa = call.in().r8 & ~NOT_USED;
    PageOperand page = PageOperand.lockFree(call, hpa, OperandId.R8);
    if (page == null || !hasNoNestedPages(call)) {
      return;
    }
    call.module().septPages().fillFree(hpa);
    page.assign(call, PageType.EPT, parent.td());
    parent.slot().write(SeptEntry.of(SeptState.NL_MAPPED, hpa));
    if (call.version() > 0) {
      call.out().r8 = Seamcall.NULL_PA;
    }
  }

  private static void addNothing(Seamcall call, SeptOperand parent, boolean isFree) {
    if (call.version() == 0) {
      call.refuse(TdxStatus.TDX_OPERAND_INVALID, OperandId.R8);
    } else if (isFree) {
      parent.refuseWithEntry(TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT);
    } else if (hasNoNestedPages(call)) {
      call.out().r8 = Seamcall.NULL_PA;
    }
  }

  private static void tableExists(Seamcall call, SeptOperand parent) {
    if ((call.in().rdx & ALLOW_EXISTING) == 0) {
      parent.refuseWithEntry(TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT);
    } else if (hasNoNestedPages(call) && call.version() > 0) {
      call.out().r8 |= NOT_USED;
    }
  }

  private static boolean hasNoNestedPages(Seamcall call) {
    SeamRegs in = call.in();
    return call.version() == 0
        || (call.require(in.r9 == Seamcall.NULL_PA, TdxStatus.TDX_OPERAND_INVALID, OperandId.R9)
            && call.require(
                in.r10 == Seamcall.NULL_PA, TdxStatus.TDX_OPERAND_INVALID, OperandId.R10)
            && call.require(
                in.r11 == Seamcall.NULL_PA, TdxStatus.TDX_OPERAND_INVALID, OperandId.R11));
  }
}
