package dev.septum.mmu;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Splits huge leafs of one root into tables of smaller ones ({@code
 * tdp_mmu_split_huge_pages_root}).
 *
 * <p>mmu_lock is held in one mode on entry and on return, and is dropped in between: whatever
 * sleeps (the new table, the backend's cache) is done outside it, and the walk then looks at the
 * entry again from the root. A failed split leaves its leaf as it was; leafs split before it stay
 * split. OK means that no leaf was met that is still to be split: under the read lock a walk that
 * meets somebody else's split waits for its end.
 */
final class HugePageSplitter {

  private final KvmMmu mmu;
  private final Kvm kvm;
  private final MmuPage root;
  private final PageLevel targetLevel;
  private final SpteWriter writer;
  private final SplitCause cause;
  private final Predicate<GfnRange> wanted;

  /** A table that is allocated and not linked yet. */
  private @Nullable MmuPage spare;

  private Errno error = Errno.OK;

  private HugePageSplitter(
      KvmMmu mmu,
      MmuPage root,
      PageLevel targetLevel,
      LockMode mode,
      SplitCause cause,
      Predicate<GfnRange> wanted) {
    this.mmu = mmu;
    this.kvm = mmu.kvm();
    this.root = root;
    this.targetLevel = targetLevel;
    this.writer = SpteWriter.forMode(mmu, mode);
    this.cause = cause;
    this.wanted = wanted;
  }

  /** Splits every leaf above the target level that overlaps the range. */
  static Errno split(
      KvmMmu mmu,
      MmuPage root,
      GfnRange range,
      PageLevel targetLevel,
      LockMode mode,
      SplitCause cause) {
    return new HugePageSplitter(mmu, root, targetLevel, mode, cause, leaf -> true).walk(range);
  }

  /**
   * Splits to 4K the leafs that stick out of the range at its head or tail, and no other.
   *
   * <p>Only the two frames at the ends are walked to: a leaf that crosses contains one of them.
   */
  static Errno splitCrossing(
      KvmMmu mmu, MmuPage root, GfnRange range, LockMode mode, SplitCause cause) {
    if (range.isEmpty()) {
      return Errno.OK;
    }
    HugePageSplitter splitter =
        new HugePageSplitter(
            mmu, root, PageLevel.LEVEL_4K, mode, cause, leaf -> !range.contains(leaf));
    Errno head = splitter.walk(GfnRange.ofPages(range.start(), 1));
    return head.isError() ? head : splitter.walk(GfnRange.ofPages(range.end() - 1, 1));
  }

  private Errno walk(GfnRange range) {
    kvm.kernel().rcu().readLock();
    try {
      TdpIter iter = new TdpIter(mmu, root, targetLevel.above(), range.start(), range.end());
      while (iter.isValid() && !error.isError()) {
        if (!visit(iter)) {
          iter.next();
        }
      }
    } finally {
      kvm.kernel().rcu().readUnlock();
      freeSpare();
    }
    return error;
  }

  /** One look at one entry; true if the same entry must be looked at again. */
  private boolean visit(TdpIter iter) {
    if (iter.condResched(writer.mode())) {
      return false;
    }
    long spte = iter.oldSpte();
    if (spte == SpteFormat.FROZEN && writer.mode() == LockMode.SHARED) {
      // Another reader is changing the entry, and the leaf comes back if it fails: wait until that
      // can be seen, outside the lock.
      mmu.counters().increment(MmuCounter.SPLIT_RETRIES);
      iter.withoutMmuLock(LockMode.SHARED, kvm.kernel()::condResched);
      return false;
    }
    GfnRange leaf = GfnRange.ofPages(iter.gfn(), iter.level().pages());
    if (!mmu.format().isPresentHuge(spte) || !wanted.test(leaf)) {
      return false;
    }
    MmuPage table = spare;
    if (table == null) {
      allocateSpare(iter);
      return false;
    }
    if (root.isMirror() && kvm.ops().needTopupExternalPerVmSplitCache(kvm, iter.level())) {
      topupSplitCache(iter);
      return false;
    }
    table.init(iter.table().role().child(), iter.gfn(), iter.table(), iter.index());
    mmu.trace().getPage(table);
    return splitOne(iter, table);
  }

  /** Splits one leaf ({@code tdp_mmu_split_huge_page}); true if it must be looked at again. */
  private boolean splitOne(TdpIter iter, MmuPage table) {
    long huge = iter.oldSpte();
    spare = null; // Others may see the table from here on, unless its link fails.
    Errno result = linkSplitTable(mmu, writer, iter, table, cause);
    if (!result.isError()) {
      return false;
    }
    spare = table;
    boolean lostRace = result == Errno.EBUSY && iter.oldSpte() != huge;
    if (lostRace || result == Errno.EAGAIN) {
      // Somebody changed the entry since it was read, or took the cached pages since they were
      // counted: judge the entry afresh. A backend that is busy on its own account is not retried.
      mmu.counters().increment(MmuCounter.SPLIT_RETRIES);
      return true;
    }
    error = result;
    return false;
  }

  /**
   * Fills a table with the parts of the iterator's huge leaf and puts it in the leaf's place
   * ({@code tdp_mmu_split_huge_page}). Not OK means that the leaf is as it was.
   */
  static Errno linkSplitTable(
      KvmMmu mmu, SpteWriter writer, TdpIter iter, MmuPage table, SplitCause cause) {
    long huge = iter.oldSpte();
    PageLevel childLevel = iter.level().below();
    table.fill(
        mmu.kvm()
            .kernel()
            .entryTable(
                mmu.format().makeSmall(huge, childLevel, mmu.isNxHugePages()),
                SpteFormat.splitStride(childLevel))
            .named("spt"));
    Errno result = mmu.linkTable(writer, iter, table);
    if (!result.isError()) {
      mmu.kvm().stats().add(VmStat.pages(childLevel), 512);
      mmu.splits().increment(cause);
      mmu.counters()
          .increment(iter.isMirror() ? MmuCounter.MIRROR_SPLITS : MmuCounter.DIRECT_SPLITS);
    }
    mmu.trace().splitHugePage(iter.gfn(), huge, iter.level(), result);
    return result;
  }

  private void allocateSpare(TdpIter iter) {
    mmu.counters().increment(MmuCounter.LOCK_DROPS_ALLOC);
    iter.withoutMmuLock(writer.mode(), () -> spare = allocForSplit());
    if (spare == null) {
      fail(iter, Errno.ENOMEM);
    }
  }

  private void topupSplitCache(TdpIter iter) {
    mmu.counters().increment(MmuCounter.LOCK_DROPS_TOPUP);
    Errno[] result = {Errno.OK};
    iter.withoutMmuLock(
        writer.mode(), () -> result[0] = kvm.ops().topupExternalPerVmSplitCache(kvm, iter.level()));
    if (result[0].isError()) {
      fail(iter, result[0]);
    }
  }

  private void fail(TdpIter iter, Errno errno) {
    mmu.trace().splitHugePage(iter.gfn(), iter.oldSpte(), iter.level(), errno);
    error = errno;
  }

  /**
   * Header, table and, for a mirror, the page for the external table ({@code
   * tdp_mmu_alloc_sp_for_split}); null, and nothing taken, if one of them can't be had. No lock
   * held.
   */
  private @Nullable MmuPage allocForSplit() {
    PageAllocator pages = kvm.pages();
    if (!pages.allocObject(MmuPage.HEADER_SLAB, Gfp.KERNEL_ACCOUNT)) {
      return null;
    }
    long spt = pages.allocPage(PageOwner.MMU_PAGE_TABLE, Gfp.KERNEL_ACCOUNT);
    if (spt == PageAllocator.NO_PAGE) {
      pages.freeObject(MmuPage.HEADER_SLAB);
      return null;
    }
    MmuPage table = mmu.newPage(spt);
    if (root.isMirror()) {
      long external = pages.allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL_ACCOUNT);
      if (external == PageAllocator.NO_PAGE) {
        mmu.freeUnlinked(table);
        return null;
      }
      table.setExternalSpt(external);
      if (mmu.plantedBugs().shouldFail(KvmMmu.LOST_EXTERNAL_SPT)) {
        pages.freePage(external, PageOwner.EXTERNAL_PAGE_TABLE);
        table.forgetExternalSpt();
      }
    }
    return table;
  }

  private void freeSpare() {
    MmuPage unused = spare;
    if (unused != null) {
      mmu.freeUnlinked(unused);
      spare = null;
    }
  }
}
