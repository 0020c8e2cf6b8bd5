package dev.septum.tdx;

import static dev.septum.kernel.PageAllocator.NO_PAGE;

import dev.septum.dpamt.PagePair;
import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.TdxStatus;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The split as posted in version 3 of the huge page series: BLOCK, TRACK, then the PAMT of the new
 * S-EPT page, then DEMOTE.
 *
 * <p>Every failure bugs the VM and leaves the leaf blocked. The pair for DEMOTE is taken anew at
 * each try, and the first goes to the allocator. Defects included; docs/defects.md lists them.
 */
final class PostedLeafSplit implements LeafSplit {

  private static final Logger log = LoggerFactory.getLogger(PostedLeafSplit.class);
  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;

  private final KvmTdx kvm;
  private final Seamcalls seamcalls;
  private final TlbTracking tracking;
  private boolean warned;

  PostedLeafSplit(KvmTdx kvm) {
    this.kvm = kvm;
    this.seamcalls = kvm.tdxHost().seamcalls();
    this.tracking = new TlbTracking(kvm);
  }

  @Override
  public Errno split(long gfn, PageLevel level, long oldMirrorSpte, long septPage, LockMode mode) {
    if (kvm.bugOn(
        kvm.state() != TdState.RUNNABLE || level != LEVEL, "split of a TD that is not RUNNABLE")) {
      return Errno.EIO;
    }
    if (mode == LockMode.SHARED) {
      warnOnce();
      return Errno.EOPNOTSUPP;
    }
    if (failed("TDH_MEM_RANGE_BLOCK", tracking.block(gfn, LEVEL))
        || failed("TDH_MEM_TRACK", tracking.track())) {
      return Errno.EIO;
    }
    Errno got = kvm.splitCache().draw(cache -> kvm.tdxHost().dpamt().get(septPage, cache));
    if (kvm.bugOn(got.isError(), "no PAMT for a new S-EPT page: " + got)) {
      return Errno.EIO;
    }
    long guestPfn = kvm.mmu().format().pfn(oldMirrorSpte);
    // The lock covers the retry too: whoever tops up spins while vCPUs are being kicked.
    SeamRegs result =
        kvm.splitCache()
            .draw(cache -> kvm.noVcpus().call(() -> demote(gfn, guestPfn, septPage, cache)));
    if (failed("TDH_MEM_PAGE_DEMOTE", result)) {
      kvm.tdxHost().dpamt().put(septPage);
      return Errno.EIO;
    }
    kvm.pages().changeOwner(septPage, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    kvm.counters().increment(TdxCounter.SEPT_PAGES);
    return Errno.OK;
  }

  /** {@code tdh_mem_page_demote}: the whole wrapper is what a BUSY repeats. */
  private SeamRegs demote(long gfn, long guestPfn, long septPage, PamtCache cache) {
    SeamRegs[] result = {new SeamRegs()};
    PagePair pair = null;
    if (kvm.tdxHost().dpamt().isEnabled()) {
      pair = drawPair(cache);
      if (pair == null) {
        result[0].rax = Seamcalls.TDX_SW_ERROR;
        return result[0];
      }
    }
    long first = pair == null ? 0 : pair.first();
    long second = pair == null ? 0 : pair.second();
    kvm.tdxHost()
        .dpamt()
        .demote(
            guestPfn,
            pair,
            () -> {
              result[0] = seamcalls.memPageDemote(kvm.tdr(), gfn, LEVEL, septPage, first, second);
              return result[0].rax;
            });
    if (pair != null && !Seamcalls.isOk(result[0])) {
      kvm.pages().freePage(first, PageOwner.PAMT_CACHE);
      kvm.pages().freePage(second, PageOwner.PAMT_CACHE);
    }
    return result[0];
  }

  /** {@code alloc_pamt_array}: of a cache with one page that page is lost. */
  private static @Nullable PagePair drawPair(PamtCache cache) {
    long first = cache.pop();
    long second = cache.pop();
    return first == NO_PAGE || second == NO_PAGE ? null : new PagePair(first, second);
  }

  /** Bugs the VM if the SEAMCALL failed ({@code TDX_BUG_ON}). */
  private boolean failed(String leaf, SeamRegs result) {
    if (Seamcalls.isOk(result)) {
      return false;
    }
    boolean isOurs = result.rax == Seamcalls.TDX_SW_ERROR;
    String status = isOurs ? "TDX_SW_ERROR" : TdxStatus.describe(result.rax);
    return kvm.bugOn(true, "SEAMCALL %s failed: %s".formatted(leaf, status));
  }

  private void warnOnce() {
    if (!warned) {
      warned = true;
      log.warn("VM {}: splitting under read mmu_lock is not supported", kvm.id());
    }
  }
}
