package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;

/** The leafs that add and measure a TD's initial memory, before it is finalised. */
final class BuildPageLeafs {

  private static final SeptRules ADD = new SeptRules(0, 0, LockMode.EXCLUSIVE, 0);
  private static final ImmutableSet<SeptState> FREE = ImmutableSet.of(SeptState.FREE);
  private static final ImmutableSet<SeptState> MAPPED = ImmutableSet.of(SeptState.MAPPED);

  private BuildPageLeafs() {}

  /** TDH.MEM.PAGE.ADD: maps page R8 at RCX, with the contents of the host's page R9. */
  static void memPageAdd(Seamcall call) {
    SeptOperand operand = SeptOperand.lockWhileBuilding(call, ADD);
    if (operand == null
        || !operand.state(FREE)
        || !PageOperand.isFormatted(call, call.in().r9, 0, OperandId.R9)) {
      return;
    }
    PageOperand page = PageOperand.lockFree(call, call.in().r8, OperandId.R8);
    if (page == null) {
      return;
    }
    page.assign(call, PageType.REG, operand.td());
    operand.slot().writeUnlocked(SeptEntry.of(SeptState.MAPPED, page.hpa()));
    operand.td().mapping().added(operand.slot().gpa(), page.hpa(), 0);
    call.module().pamt().contents(page.hpa()).trySet(page.hpa());
    call.module().contents().zero(page.hpa(), 1);
    operand.td().measurement.pageAdded(operand.slot().gpa());
  }

  /** TDH.MR.EXTEND: measures the 256 bytes at GPA RCX. */
  static void mrExtend(Seamcall call) {
    SeptOperand operand = SeptOperand.lockChunkWhileBuilding(call);
    if (operand != null && operand.state(MAPPED)) {
      operand.td().measurement.chunkExtended(call.in().rcx);
    }
  }
}
