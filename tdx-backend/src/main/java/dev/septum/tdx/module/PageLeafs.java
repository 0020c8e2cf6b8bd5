package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;

/** The leafs that map, unmap and move the private memory of a TD. */
final class PageLeafs {

  private static final SeptRules AUG = new SeptRules(0, 1, LockMode.SHARED, 0);
  private static final SeptRules REMOVE = new SeptRules(0, 2, LockMode.SHARED, 0);
  private static final SeptRules RELOCATE = new SeptRules(0, 0, LockMode.SHARED, 0);
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
      operand.td().mapping().added(operand.slot().gpa(), page.hpa(), operand.level());
    }
  }

  /** TDH.MEM.PAGE.REMOVE: unmaps the page at RCX, and returns its HPA there. */
  static void memPageRemove(Seamcall call) {
    SeptOperand operand = SeptOperand.lock(call, REMOVE);
    if (operand == null || !operand.state(LEAFS)) {
      return;
    }
    if (operand.lockPamtEntry() && operand.blocked() && operand.tracked()) {
      remove(call, operand);
    }
  }

  /** TDH.MEM.PAGE.RELOCATE: moves the 4K page at RCX to R8, and returns its old HPA in RCX. */
  static void memPageRelocate(Seamcall call) {
    SeptOperand operand = SeptOperand.lock(call, RELOCATE);
    if (operand == null
        || !operand.state(LEAFS)
        || !call.require(
            call.in().r8 != operand.slot().hpa(), TdxStatus.TDX_OPERAND_INVALID, OperandId.R8)
        || !operand.lockPamtEntry()
        || !operand.blocked()
        || !operand.tracked()) {
      return;
    }
    PageOperand page = PageOperand.lockFree(call, call.in().r8, OperandId.R8);
    if (page != null) {
      relocate(call, operand, page);
    }
  }

  private static void remove(Seamcall call, SeptOperand operand) {
    operand.retire();
    long hpa = operand.slot().hpa();
    PamtEntry entry = operand.pamtEntry();
    operand.slot().write(SeptEntry.FREE);
    operand.td().mapping().removed(operand.slot().gpa(), hpa, operand.level());
    operand.td().childCount().addAndGet(-SeptEntry.pages(operand.level()));
    call.out().rcx = hpa | RemovalHint.of(call.module().pamt().free(entry, hpa));
  }

  private static void relocate(Seamcall call, SeptOperand operand, PageOperand page) {
    operand.retire();
    Pamt pamt = call.module().pamt();
    SeptSlot slot = operand.slot();
    long old = slot.hpa();
    PamtEntry oldEntry = operand.pamtEntry();
    SeptState state = slot.state().unblocked();
    pamt.assign(page.entry(), page.hpa(), PageType.REG, operand.td().tdrHpa());
    if (state == SeptState.MAPPED) {
      call.module().contents().copy(old, page.hpa());
      pamt.contents(page.hpa()).trySet(page.hpa());
    }
    slot.write(SeptEntry.of(state, page.hpa()));
    operand.td().mapping().removed(slot.gpa(), old, 0);
    operand.td().mapping().added(slot.gpa(), page.hpa(), 0);
    call.out().rcx = old | RemovalHint.of(pamt.free(oldEntry, old));
  }
}
