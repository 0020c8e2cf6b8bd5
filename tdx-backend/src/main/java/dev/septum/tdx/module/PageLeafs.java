package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;

/** The leafs that map and unmap the private memory of a TD. */
final class PageLeafs {

  private static final SeptRules AUG = new SeptRules(0, 1, LockMode.SHARED, 0);
  private static final SeptRules REMOVE = new SeptRules(0, 2, LockMode.SHARED, 0);
  private static final ImmutableSet<SeptState> VACANT =
      ImmutableSet.of(SeptState.FREE, SeptState.REMOVED);
  private static final ImmutableSet<SeptState> LEAFS =
      ImmutableSet.of(
          SeptState.MAPPED, SeptState.BLOCKED, SeptState.PENDING, SeptState.PENDING_BLOCKED);

  private PageLeafs() {}

  /** TDH.MEM.PAGE.AUG: maps page R8, 4K or 2M, at RCX; the guest has to accept it. */
  static void memPageAug(Seamcall call) {
    SeptOperand operand = SeptOperand.lock(call, AUG);
    if (operand == null || !operand.state(VACANT)) {
      return;
    }
    PageOperand page = PageOperand.lockFreeRange(call, call.in().r8, operand.level(), OperandId.R8);
    if (page != null) {
      page.assign(call, PageType.REG, operand.td());
      operand.slot().write(SeptEntry.of(SeptState.PENDING, page.hpa()));
    }
  }

  /** TDH.MEM.PAGE.REMOVE: unmaps the page at RCX, and returns its HPA there. */
  static void memPageRemove(Seamcall call) {
    SeptOperand operand = SeptOperand.lock(call, REMOVE);
    if (operand == null || !operand.state(LEAFS)) {
      return;
    }
    PamtEntry entry = operand.pamtEntry();
    if (call.lock(entry, LockMode.EXCLUSIVE, OperandId.RCX)
        && operand.blocked()
        && operand.tracked()) {
      remove(call, operand, entry);
    }
  }

  private static void remove(Seamcall call, SeptOperand operand, PamtEntry entry) {
    long hpa = operand.slot().hpa();
    operand.slot().write(SeptEntry.FREE);
    operand.td().childCount().addAndGet(-SeptEntry.pages(operand.level()));
    call.out().rcx = hpa | RemovalHint.of(call.module().pamt().free(entry, hpa));
  }
}
