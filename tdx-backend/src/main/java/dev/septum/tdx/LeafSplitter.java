package dev.septum.tdx;

import dev.septum.dpamt.PagePair;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.module.SeamRegs;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Splits a 2M leaf of the Secure EPT ({@code tdx_sept_split_private_spte}).
 *
 * <p>All or nothing: what the split needs is taken before the leaf is blocked and once, outside the
 * BUSY retry; if a step fails the leaf is unblocked, everything taken goes back, and the error is
 * returned.
 */
final class LeafSplitter implements LeafSplit {

  private static final Logger log = LoggerFactory.getLogger(LeafSplitter.class);
  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;

  private final KvmTdx kvm;
  private final Seamcalls seamcalls;
  private final TlbTracking tracking;

  LeafSplitter(KvmTdx kvm) {
    this.kvm = kvm;
    this.seamcalls = kvm.tdxHost().seamcalls();
    this.tracking = new TlbTracking(kvm);
  }

  /**
   * {@inheritDoc}
   *
   * @return EOPNOTSUPP under the read lock if the module must have the leaf blocked; EAGAIN if the
   *     cache has too few pages; EBUSY if the module stays busy; EIO if it refuses
   */
  @Override
  public Errno split(long gfn, PageLevel level, long oldMirrorSpte, long septPage, LockMode mode) {
    kvm.mmuLock().assertHeld(mode);
    if (kvm.bugOn(
        kvm.state() != TdState.RUNNABLE || level != LEVEL, "split of a TD that is not RUNNABLE")) {
      return Errno.EIO;
    }
    boolean blocking = !kvm.tdxHost().supportsNonBlockingResize();
    if (blocking && mode == LockMode.SHARED) {
      return Errno.EOPNOTSUPP;
    }
    SplitCache.Supply supply = kvm.splitCache().take(septPage, mode);
    if (supply.error().isError()) {
      return supply.error();
    }
    long guestPfn = kvm.mmu().format().pfn(oldMirrorSpte);
    Supplier<SeamRegs> demote = () -> demote(gfn, guestPfn, septPage, supply.guestPair());
    Errno error = blocking ? blockAndDemote(gfn, demote) : demoteAsItIs(demote, mode);
    if (error.isError()) {
      kvm.splitCache().giveBack(supply, septPage);
      kvm.counters().increment(TdxCounter.SPLITS_UNDONE);
      return error;
    }
    kvm.pages().changeOwner(septPage, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    kvm.counters().increment(TdxCounter.SEPT_PAGES);
    return Errno.OK;
  }

  /** Only under the write lock can vCPUs be kept out of a busy leaf's way. */
  private Errno demoteAsItIs(Supplier<SeamRegs> demote, LockMode mode) {
    SeamRegs result = mode == LockMode.EXCLUSIVE ? kvm.noVcpus().call(demote) : demote.get();
    return errnoOf("TDH_MEM_PAGE_DEMOTE", result);
  }

  private Errno blockAndDemote(long gfn, Supplier<SeamRegs> demote) {
    Errno error = errnoOf("TDH_MEM_RANGE_BLOCK", tracking.block(gfn, LEVEL));
    if (error.isError()) {
      return error;
    }
    error = errnoOf("TDH_MEM_TRACK", tracking.track());
    if (!error.isError()) {
      error = errnoOf("TDH_MEM_PAGE_DEMOTE", kvm.noVcpus().call(demote));
    }
    if (error.isError()) {
      // The guest must not find the range blocked for ever; a leaf that stays blocked is a bug.
      kvm.bugOn(!tracking.unblock(gfn, LEVEL), "leaf stays blocked after a failed split");
    }
    return error;
  }

  /** DEMOTE, with pamt_lock held so that no PAMT.ADD meets the pages given to it. */
  private SeamRegs demote(long gfn, long guestPfn, long septPage, @Nullable PagePair pair) {
    SeamRegs[] result = new SeamRegs[1];
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
    return result[0];
  }

  private Errno errnoOf(String leaf, SeamRegs result) {
    if (Seamcalls.isOk(result)) {
      return Errno.OK;
    }
    if (Seamcalls.isBusy(result)) {
      return Errno.EBUSY;
    }
    log.warn("VM {}: SEAMCALL {} failed: {}", kvm.id(), leaf, result);
    return Errno.EIO;
  }
}
