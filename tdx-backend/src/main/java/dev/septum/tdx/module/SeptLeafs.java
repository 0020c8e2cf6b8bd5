package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;

/** The leafs that build and read the tables of the S-EPT. */
final class SeptLeafs {

  /** The operand that stands for "no page". */
  static final long NULL_PA = -1;

  private static final long ALLOW_EXISTING = 1;
  private static final long NOT_USED = 1L << 63;
  private static final SeptRules ADD =
      new SeptRules(1, SeptRules.TOP, LockMode.SHARED, ALLOW_EXISTING);
  private static final SeptRules READ = new SeptRules(0, SeptRules.TOP, LockMode.SHARED, 0);
  private static final ImmutableSet<SeptState> FREE_OR_TABLE =
      ImmutableSet.of(SeptState.FREE, SeptState.NL_MAPPED);

  private SeptLeafs() {}

  /**
   * TDH.MEM.SEPT.ADD: makes page R8 the table below the entry that RCX names. Version 1 may come
   * without a page; its L2 pages R9 to R11 must be NULL_PA, since there are no nested VMs.
   */
  static void memSeptAdd(Seamcall call) {
    SeptOperand parent = SeptOperand.lock(call, ADD);
    if (parent == null || !parent.state(FREE_OR_TABLE)) {
      return;
    }
    boolean isFree = parent.slot().state() == SeptState.FREE;
    if (call.in().r8 == NULL_PA) {
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
    if (operand != null) {
      operand.showEntry();
      call.out().r8 = 0;
    }
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
      call.out().r8 = NULL_PA;
    }
  }

  private static void addNothing(Seamcall call, SeptOperand parent, boolean isFree) {
    if (call.version() == 0) {
      call.refuse(TdxStatus.TDX_OPERAND_INVALID, OperandId.R8);
    } else if (isFree) {
      parent.refuseWithEntry(TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT);
    } else if (hasNoNestedPages(call)) {
      call.out().r8 = NULL_PA;
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
        || (call.require(in.r9 == NULL_PA, TdxStatus.TDX_OPERAND_INVALID, OperandId.R9)
            && call.require(in.r10 == NULL_PA, TdxStatus.TDX_OPERAND_INVALID, OperandId.R10)
            && call.require(in.r11 == NULL_PA, TdxStatus.TDX_OPERAND_INVALID, OperandId.R11));
  }
}
