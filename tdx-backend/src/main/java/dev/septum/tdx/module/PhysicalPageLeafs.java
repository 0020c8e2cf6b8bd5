package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;

/** The leafs that look at, or clean up after, a physical page. */
final class PhysicalPageLeafs {

  private static final long SIZE = 7;
  private static final long NODE = 1L << 63;

  private PhysicalPageLeafs() {}

  /** TDH.PHYMEM.PAGE.WBINVD: writes back the lines of a free page; RCX has an HKID on top. */
  static void phymemPageWbinvd(Seamcall call) {
    ModuleState module = call.module();
    long hpa = call.in().rcx >>> 52 == 0 ? module.config().withoutHkid(call.in().rcx) : -1;
    PamtEntry entry = PageOperand.walk(call, hpa, 0, LockMode.SHARED, OperandId.RCX);
    if (entry != null) {
      call.require(
          entry.isFree() && !module.pamt().isPamtPage(hpa),
          TdxStatus.TDX_PAGE_METADATA_INCORRECT,
          OperandId.RCX);
    }
  }

  /** TDH.PHYMEM.PAGE.RDMD: shows the PAMT entry for RCX, no smaller than its size bits say. */
  static void phymemPageRdmd(Seamcall call) {
    int size = (int) (call.in().rcx & SIZE);
    long hpa = call.in().rcx & ~SIZE;
    boolean sized = size <= 2 && (size == 0 || call.module().pamt().isDynamic());
    if (!call.require(sized, TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX)) {
      return;
    }
    PamtEntry entry = PageOperand.walk(call, hpa, size, LockMode.SHARED, OperandId.RCX);
    if (entry != null) {
      show(call.out(), entry);
      showIfPamtPage(call, hpa, size, entry);
    }
  }

  private static void show(SeamRegs out, PamtEntry entry) {
    PageType type = entry.type();
    boolean hasEpoch = type == PageType.REG || type == PageType.EPT;
    out.rcx = type.code() | (entry.isNode() ? NODE : 0);
    out.rdx = type.isOwned() ? entry.owner() : 0;
    out.r8 = entry.level();
    out.r9 = hasEpoch ? entry.blockingEpoch() : 0;
    out.r10 = entry.isNode() ? entry.pairPage(0) : 0;
    out.r11 = entry.isNode() ? entry.pairPage(1) : 0;
  }

  private static void showIfPamtPage(Seamcall call, long hpa, int size, PamtEntry entry) {
    if (size == 0 && entry.isFree() && call.module().pamt().isPamtPage(hpa)) {
      call.out().rcx = PageType.PAMT.code();
      call.out().r8 = 0;
    }
  }
}
