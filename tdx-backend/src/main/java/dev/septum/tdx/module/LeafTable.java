package dev.septum.tdx.module;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Which method is which SEAMCALL leaf: one row each. */
final class LeafTable {

  private static final ImmutableMap<SeamcallLeaf, Consumer<Seamcall>> LEAFS =
      Maps.immutableEnumMap(
          ImmutableMap.<SeamcallLeaf, Consumer<Seamcall>>builder()
              .put(SeamcallLeaf.TDH_VP_ENTER, VpEnter::run)
              .put(SeamcallLeaf.TDH_MNG_ADDCX, TdBuildLeafs::mngAddcx)
              .put(SeamcallLeaf.TDH_MEM_PAGE_ADD, BuildPageLeafs::memPageAdd)
              .put(SeamcallLeaf.TDH_MEM_SEPT_ADD, SeptLeafs::memSeptAdd)
              .put(SeamcallLeaf.TDH_VP_ADDCX, VcpuLeafs::vpAddcx)
              .put(SeamcallLeaf.TDH_MEM_PAGE_RELOCATE, PageLeafs::memPageRelocate)
              .put(SeamcallLeaf.TDH_MEM_PAGE_AUG, PageLeafs::memPageAug)
              .put(SeamcallLeaf.TDH_MEM_RANGE_BLOCK, BlockingLeafs::memRangeBlock)
              .put(SeamcallLeaf.TDH_MNG_KEY_CONFIG, TdBuildLeafs::mngKeyConfig)
              .put(SeamcallLeaf.TDH_MNG_CREATE, TdBuildLeafs::mngCreate)
              .put(SeamcallLeaf.TDH_VP_CREATE, VcpuLeafs::vpCreate)
              .put(SeamcallLeaf.TDH_MEM_RD, DebugLeafs::memRd)
              .put(SeamcallLeaf.TDH_MEM_WR, DebugLeafs::memWr)
              .put(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, DemoteLeaf::memPageDemote)
              .put(SeamcallLeaf.TDH_MR_EXTEND, BuildPageLeafs::mrExtend)
              .put(SeamcallLeaf.TDH_MR_FINALIZE, TdBuildLeafs::mrFinalize)
              .put(SeamcallLeaf.TDH_VP_FLUSH, VcpuLeafs::vpFlush)
              .put(SeamcallLeaf.TDH_MNG_VPFLUSHDONE, TdTeardownLeafs::mngVpflushdone)
              .put(SeamcallLeaf.TDH_MNG_KEY_FREEID, TdTeardownLeafs::mngKeyFreeid)
              .put(SeamcallLeaf.TDH_MNG_INIT, TdBuildLeafs::mngInit)
              .put(SeamcallLeaf.TDH_VP_INIT, VcpuLeafs::vpInit)
              .put(SeamcallLeaf.TDH_MEM_PAGE_PROMOTE, PromoteLeaf::memPagePromote)
              .put(SeamcallLeaf.TDH_PHYMEM_PAGE_RDMD, PhysicalPageLeafs::phymemPageRdmd)
              .put(SeamcallLeaf.TDH_MEM_SEPT_RD, SeptLeafs::memSeptRd)
              .put(SeamcallLeaf.TDH_MNG_KEY_RECLAIMID, TdTeardownLeafs::mngKeyReclaimid)
              .put(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, TdTeardownLeafs::phymemPageReclaim)
              .put(SeamcallLeaf.TDH_MEM_PAGE_REMOVE, PageLeafs::memPageRemove)
              .put(SeamcallLeaf.TDH_MEM_SEPT_REMOVE, SeptLeafs::memSeptRemove)
              .put(SeamcallLeaf.TDH_SYS_KEY_CONFIG, SysLeafs::sysKeyConfig)
              .put(SeamcallLeaf.TDH_SYS_INIT, SysLeafs::sysInit)
              .put(SeamcallLeaf.TDH_SYS_RD, SysLeafs::sysRd)
              .put(SeamcallLeaf.TDH_SYS_LP_INIT, SysLeafs::sysLpInit)
              .put(SeamcallLeaf.TDH_SYS_TDMR_INIT, SysLeafs::sysTdmrInit)
              .put(SeamcallLeaf.TDH_MEM_TRACK, BlockingLeafs::memTrack)
              .put(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, BlockingLeafs::memRangeUnblock)
              .put(SeamcallLeaf.TDH_PHYMEM_CACHE_WB, TdTeardownLeafs::phymemCacheWb)
              .put(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD, PhysicalPageLeafs::phymemPageWbinvd)
              .put(SeamcallLeaf.TDH_SYS_LP_SHUTDOWN, SysLeafs::sysLpShutdown)
              .put(SeamcallLeaf.TDH_SYS_CONFIG, SysLeafs::sysConfig)
              .put(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, PamtLeafs::phymemPamtAdd)
              .put(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, PamtLeafs::phymemPamtRemove)
              .buildOrThrow());

  private LeafTable() {}

  static void run(SeamcallLeaf leaf, Seamcall call) {
    @Nullable Consumer<Seamcall> code = LEAFS.get(leaf);
    if (code == null) {
      throw new IllegalStateException(leaf + " has no row in the table");
    }
    code.accept(call);
  }
}
