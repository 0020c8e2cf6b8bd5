package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;
import org.jspecify.annotations.Nullable;

/** The leafs that attach and detach the page pairs of Dynamic PAMT. */
final class PamtLeafs {

  private static final long REGION = 1L << 21;
  private static final long SIZE = 7;
  private static final long SIZE_2M = 1;

  private PamtLeafs() {}

  /** TDH.PHYMEM.PAMT.ADD: gives the 2M region RCX the page pair RDX and R8. */
  static void phymemPamtAdd(Seamcall call) {
    SeamRegs in = call.in();
    if (!isDynamic(call)
        || !isRegionFormatted(call)
        || !PageOperand.isFormatted(call, in.rdx, 0, OperandId.RDX)
        || !PageOperand.isCovered(call, in.rdx, OperandId.RDX)
        || !PageOperand.isFormatted(call, in.r8, 0, OperandId.R8)
        || !PageOperand.isCovered(call, in.r8, OperandId.R8)) {
      return;
    }
    PamtEntry node = lockRegion(call);
    if (node != null
        && call.require(
            node.level() == 1 && node.isFree(), TdxStatus.TDX_HPA_RANGE_NOT_FREE, OperandId.RCX)
        && isPairPageFree(call, in.rdx, OperandId.RDX)
        && isPairPageFree(call, in.r8, OperandId.R8)
        && PagePairOperand.mark(call, in.rdx, OperandId.RDX, in.r8, OperandId.R8)) {
      call.module().pamt().attachPair(node, region(call), in.rdx, in.r8);
    }
  }

  /** TDH.PHYMEM.PAMT.REMOVE: takes the page pair of the 2M region RCX, into RDX and R8. */
  static void phymemPamtRemove(Seamcall call) {
    PamtEntry node = isDynamic(call) && isRegionFormatted(call) ? lockRegion(call) : null;
    if (node == null
        || !call.require(
            node.level() == 1 && node.isNode(), TdxStatus.TDX_NO_PAMT_PAGE_PAIR, OperandId.RCX)
        || !isEmpty(call, node)) {
      return;
    }
    call.out().rdx = node.pairPage(0);
    call.out().r8 = node.pairPage(1);
    call.module().pamt().detachPair(node, region(call));
  }

  private static boolean isDynamic(Seamcall call) {
    return call.require(
        call.module().pamt().isDynamic(), TdxStatus.TDX_OPERAND_INVALID, OperandId.RAX);
  }

  private static boolean isRegionFormatted(Seamcall call) {
    return call.require(
            (call.in().rcx & SIZE) == SIZE_2M, TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX)
        && PageOperand.isFormatted(call, region(call), 1, OperandId.RCX);
  }

  private static @Nullable PamtEntry lockRegion(Seamcall call) {
    return PageOperand.isCovered(call, region(call), OperandId.RCX)
        ? PageOperand.walkCovered(call, region(call), 1, LockMode.EXCLUSIVE, OperandId.RCX)
        : null;
  }

  /** A page inside the region itself is free when the region is, and its 2M entry is ours. */
  private static boolean isPairPageFree(Seamcall call, long hpa, int operand) {
    return (hpa & -REGION) == region(call) || PagePairOperand.isFree(call, hpa, operand);
  }

  /** Refuses a pair with a page in use; the detail is then the index of the page, 0 or 1. */
  private static boolean isEmpty(Seamcall call, PamtEntry node) {
    PamtTable entries = call.module().pamt().pagesOf(region(call));
    for (int page = 0; page < 2; page++) {
      if (entries != null && !entries.isHalfFree(page)) {
        return call.refuse(TdxStatus.TDX_PAMT_PAGE_NOT_EMPTY, page);
      }
    }
    if (node.pageCount() != 0) {
      throw new IllegalStateException("an empty page pair has PAGE_COUNT " + node.pageCount());
    }
    return true;
  }

  private static long region(Seamcall call) {
    return call.in().rcx & ~SIZE;
  }
}
