package dev.septum.tdx;

import dev.septum.kernel.EntryTable;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.tdx.module.LogicalProcessor;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModule;
import dev.septum.tdx.module.TdxStatus;

/**
 * The SEAMCALL wrappers of the host kernel ({@code tdh_*}), one method a leaf.
 *
 * <p>Pages are pfns, frames are gfns. A method returns the registers after the call; RAX is the
 * status.
 */
final class Seamcalls {

  /**
   * What a wrapper returns that could not even make its SEAMCALL; the kernel's, not the module's.
   */
  static final long TDX_SW_ERROR = 1L << 63 | 0xFFL << 40;

  private final TdxModule module;
  private final TraceSink trace;

  Seamcalls(TdxModule module, TraceSink trace) {
    this.module = module;
    this.trace = trace;
  }

  /** Whether the status asks for the same call again ({@code tdx_operand_busy}). */
  static boolean isBusy(SeamRegs result) {
    return TdxStatus.isBusy(result.rax);
  }

  static boolean isOk(SeamRegs result) {
    return TdxStatus.isSuccess(result.rax);
  }

  SeamRegs mngCreate(long tdr, int hkid) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_CREATE).rcx(hpa(tdr)).rdx(hkid));
  }

  SeamRegs mngKeyConfig(long tdr) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_KEY_CONFIG).rcx(hpa(tdr)));
  }

  SeamRegs mngAddcx(long tdr, long tdcx) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_ADDCX).rcx(hpa(tdcx)).rdx(hpa(tdr)));
  }

  SeamRegs mngInit(long tdr, long params) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_INIT).rcx(hpa(tdr)).rdx(hpa(params)));
  }

  SeamRegs mngVpflushdone(long tdr) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_VPFLUSHDONE).rcx(hpa(tdr)));
  }

  SeamRegs mngKeyFreeid(long tdr) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MNG_KEY_FREEID).rcx(hpa(tdr)));
  }

  SeamRegs mrExtend(long tdr, long gpa) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MR_EXTEND).rcx(gpa).rdx(hpa(tdr)));
  }

  SeamRegs mrFinalize(long tdr) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MR_FINALIZE).rcx(hpa(tdr)));
  }

  SeamRegs vpCreate(long tdr, long tdvpr) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_CREATE).rcx(hpa(tdvpr)).rdx(hpa(tdr)));
  }

  SeamRegs vpAddcx(long tdvpr, long tdcx) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_ADDCX).rcx(hpa(tdcx)).rdx(hpa(tdvpr)));
  }

  SeamRegs vpInit(long tdvpr, long initialRcx) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_INIT).rcx(hpa(tdvpr)).rdx(initialRcx));
  }

  SeamRegs vpFlush(long tdvpr) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_VP_FLUSH).rcx(hpa(tdvpr)));
  }

  /** Enters the guest with {@code regs}, which hold the exit's registers afterwards. */
  void vpEnter(long tdvpr, SeamRegs regs, LogicalProcessor processor) {
    regs.rax = SeamcallLeaf.TDH_VP_ENTER.number();
    regs.rcx = hpa(tdvpr);
    traced(regs, processor);
  }

  SeamRegs memSeptAdd(long tdr, long gfn, PageLevel level, long sept) {
    return call(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_SEPT_ADD)
            .rcx(gpaAndLevel(gfn, level))
            .rdx(hpa(tdr))
            .r8(hpa(sept)));
  }

  SeamRegs memPageAdd(long tdr, long gfn, long page, long source) {
    return call(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_ADD)
            .rcx(gpaAndLevel(gfn, PageLevel.LEVEL_4K))
            .rdx(hpa(tdr))
            .r8(hpa(page))
            .r9(hpa(source)));
  }

  SeamRegs memPageAug(long tdr, long gfn, PageLevel level, long page) {
    return call(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_AUG)
            .rcx(gpaAndLevel(gfn, level))
            .rdx(hpa(tdr))
            .r8(hpa(page)));
  }

  SeamRegs memRangeBlock(long tdr, long gfn, PageLevel level) {
    return onEntry(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, tdr, gfn, level);
  }

  SeamRegs memRangeUnblock(long tdr, long gfn, PageLevel level) {
    return onEntry(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, tdr, gfn, level);
  }

  SeamRegs memPageRemove(long tdr, long gfn, PageLevel level) {
    return onEntry(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, tdr, gfn, level);
  }

  SeamRegs memTrack(long tdr) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_MEM_TRACK).rcx(hpa(tdr)));
  }

  /**
   * Splits a leaf; {@code first} and {@code second} are the PAMT page pair, ignored without DPAMT.
   */
  SeamRegs memPageDemote(long tdr, long gfn, PageLevel level, long sept, long first, long second) {
    return call(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)
            .rcx(gpaAndLevel(gfn, level))
            .rdx(hpa(tdr))
            .r8(hpa(sept))
            .r9(-1)
            .r10(-1)
            .r11(-1)
            .r12(hpa(first))
            .r13(hpa(second)));
  }

  SeamRegs phymemPageReclaim(long page) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM).rcx(hpa(page)));
  }

  /** Writes back the cache lines of one page under an HKID. */
  SeamRegs phymemPageWbinvd(long page, long hkidBits) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD).rcx(hpa(page) | hkidBits));
  }

  /**
   * Writes back the pages of a mapping, one after the other; stops at the first error. A trace
   * shows the first page's call only.
   */
  SeamRegs phymemPagesWbinvd(long page, long pages, long hkidBits) {
    SeamRegs result = phymemPageWbinvd(page, hkidBits);
    for (long i = 1; i < pages && isOk(result); i++) {
      result = SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD).rcx(hpa(page + i) | hkidBits);
      module.seamcall(result);
    }
    return result;
  }

  SeamRegs phymemCacheWb() {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_CACHE_WB));
  }

  SeamRegs phymemPamtAdd(long rangePfn, long first, long second) {
    return call(
        SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)
            .rcx(hpa(rangePfn) | 1)
            .rdx(hpa(first))
            .r8(hpa(second)));
  }

  SeamRegs phymemPamtRemove(long rangePfn) {
    return call(SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE).rcx(hpa(rangePfn) | 1));
  }

  private SeamRegs onEntry(SeamcallLeaf leaf, long tdr, long gfn, PageLevel level) {
    return call(SeamRegs.leaf(leaf).rcx(gpaAndLevel(gfn, level)).rdx(hpa(tdr)));
  }

  private SeamRegs call(SeamRegs regs) {
    traced(regs, LogicalProcessor.NONE);
    return regs;
  }

  /** Does the call; the trace event is ours, as the kernel has none for SEAMCALLs. */
  private void traced(SeamRegs regs, LogicalProcessor processor) {
    int leaf = (int) regs.rax & 0xffff;
    long rcx = regs.rcx;
    long rdx = regs.rdx;
    long r8 = regs.r8;
    long r12 = regs.r12;
    long r13 = regs.r13;
    module.seamcall(regs, processor);
    if (trace.isOn()) {
      trace.event(
          "septum_seamcall",
          "leaf=%s rcx=%x rdx=%x r8=%x r12=%x r13=%x status=%x rcx_out=%x rdx_out=%x"
              .formatted(
                  SeamcallLeaf.of(leaf).orElseThrow(),
                  rcx,
                  rdx,
                  r8,
                  r12,
                  r13,
                  regs.rax,
                  regs.rcx,
                  regs.rdx));
    }
  }

  private static long hpa(long pfn) {
    return pfn << 12;
  }

  /** The module counts levels from 0. */
  private static long gpaAndLevel(long gfn, PageLevel level) {
    return gfn << 12 | (level.number() - 1);
  }

  static long pfnOfHpa(long hpa) {
    return (hpa & ((1L << 52) - 1) & ~(EntryTable.ENTRIES * 8L - 1)) >>> 12;
  }
}
