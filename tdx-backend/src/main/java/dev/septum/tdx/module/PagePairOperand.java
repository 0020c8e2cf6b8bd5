package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;

/** The page pair that the host hands over with DEMOTE, in R12 and R13. */
final class PagePairOperand {

  private PagePairOperand() {}

  /** Marks both pages as PAMT pages, or refuses the call and marks none. */
  static boolean claim(Seamcall call, long page0, long page1) {
    return PageOperand.isFormatted(call, page0, 0, OperandId.R12)
        && PageOperand.isFormatted(call, page1, 0, OperandId.R13)
        && PageOperand.isCovered(call, page0, OperandId.R12)
        && PageOperand.isCovered(call, page1, OperandId.R13)
        && isFree(call, page0, OperandId.R12)
        && isFree(call, page1, OperandId.R13)
        && mark(call, page0, OperandId.R12, page1, OperandId.R13);
  }

  /**
   * Refuses a page in use. The page needs no 4K entry: a 2M entry that is free will do, since PAMT
   * pages are known by their bitmap bit.
   */
  static boolean isFree(Seamcall call, long hpa, int operand) {
    PamtEntry entry = PageOperand.walkCovered(call, hpa, 0, LockMode.SHARED, operand);
    return entry != null && call.require(entry.isFree(), TdxStatus.TDX_PAGE_NOT_FREE, operand);
  }

  /** Sets the bits of both pages, or refuses the call and sets none. */
  static boolean mark(Seamcall call, long page0, int operand0, long page1, int operand1) {
    Pamt pamt = call.module().pamt();
    if (!pamt.bitmap(page0).trySet(page0)) {
      return call.refuse(TdxStatus.TDX_PAGE_NOT_FREE, operand0);
    }
    if (!pamt.bitmap(page1).trySet(page1)) {
      pamt.bitmap(page0).clear(page0);
      return call.refuse(TdxStatus.TDX_PAGE_NOT_FREE, operand1);
    }
    return true;
  }
}
