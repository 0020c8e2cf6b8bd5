package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;

/** D3: two topups at once leave five pages, and the retry that finds one of them drops it. */
final class OddCacheLosesPage implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.scattered();
    KvmTdx kvm = bench.kvm();
    bench.acceptLeaf();
    lab.protocol().step("a second thread fills the split cache while the first fills it");
    bench
        .kernel()
        .before(
            LockClass.PREALLOC_SPLIT_CACHE_LOCK,
            () ->
                bench.asAnotherThread(
                    () -> kvm.ops().topupExternalPerVmSplitCache(kvm, PageLevel.LEVEL_2M)));
    bench.refuse(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, TdxStatus.TDX_OPERAND_BUSY);
    bench.share(GFN + 0x10, GFN + 0x20);
    long owned = bench.pages().census().getOrDefault(PageOwner.PAMT_CACHE, 0L);
    long cached = (long) kvm.splitCacheCount() + bench.vmm().vcpus().get(0).cachedPamtPages();
    lab.protocol().observed("%d pages are pamt_cache's, %d are in a cache", owned, cached);
    lab.protocol().partedIf(owned != cached, "%d page(s) are in nobody's hands", owned - cached);
  }
}
