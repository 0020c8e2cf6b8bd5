package dev.septum.tdx;

import dev.septum.dpamt.PagePair;
import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A VM's pages for splitting the Secure EPT outside vCPU threads ({@code prealloc_split_cache}).
 *
 * <p>prealloc_split_cache_lock guards every page that goes in or out. Counting takes no lock: the
 * count is final for a thread that holds mmu_lock for write, since pages leave under mmu_lock only;
 * under the read lock another split may take pages at any time, so {@link #take} counts again
 * inside the lock.
 */
final class SplitCache {

  /** Pairs that one split of a 2M leaf may need: the new S-EPT page's and the guest range's. */
  private static final int PAIRS = 2;

  /**
   * What one split needs: taken together or not at all.
   *
   * @param error why nothing was taken, or OK
   * @param guestPair the pair for DEMOTE; null without Dynamic PAMT
   */
  record Supply(Errno error, @Nullable PagePair guestPair) {
    private static Supply refused(Errno error) {
      return new Supply(error, null);
    }
  }

  private final KvmTdx kvm;
  private final PamtCache pages;
  private final SpinLock lock;

  SplitCache(KvmTdx kvm) {
    this.kvm = kvm;
    this.pages = new PamtCache(kvm.kernel(), kvm.pages());
    this.lock = kvm.kernel().spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
  }

  /** Has a body draw pages with prealloc_split_cache_lock held, and counts what it drew. */
  <T> T draw(Function<PamtCache, T> body) {
    lock.lock();
    try {
      int before = pages.count();
      T result = body.apply(pages);
      kvm.counters().add(TdxCounter.SPLIT_CACHE_PAGES_OUT, before - pages.count());
      return result;
    } finally {
      lock.unlock();
    }
  }

  /** Pages in the cache. Takes no lock. */
  int count() {
    return pages.count();
  }

  /**
   * Pages that one split may need: 4 with Dynamic PAMT, else 0 ({@code tdx_min_split_cache_sz}).
   */
  int minSize(PageLevel level) {
    kvm.bugOn(level != PageLevel.LEVEL_2M, "level != PG_LEVEL_2M");
    return kvm.tdxHost().dpamt().entryPages() * PAIRS;
  }

  /**
   * Allocates what is missing for one split, outside every lock ({@code tdx_topup_vm_split_cache}).
   * May sleep. ENOMEM leaves queued what was queued. Two threads here at once may put in more than
   * one split needs; the surplus stays.
   */
  Errno topup(PageLevel level) {
    int needed = minSize(level);
    boolean filled = false;
    while (pages.count() < needed) {
      long page = kvm.pages().allocPage(PageOwner.PAMT_CACHE, kvm.design().splitTopupGfp());
      if (page == PageAllocator.NO_PAGE) {
        return Errno.ENOMEM;
      }
      lock.lock();
      pages.push(page);
      lock.unlock();
      kvm.counters().increment(TdxCounter.SPLIT_CACHE_PAGES_IN);
      filled = true;
    }
    if (filled) {
      kvm.counters().increment(TdxCounter.SPLIT_CACHE_TOPUPS);
    }
    return Errno.OK;
  }

  /** Whether the cache is too small for one split. Takes no lock ({@code tdx_need_topup_...}). */
  boolean needsTopup(PageLevel level) {
    return pages.count() < minSize(level);
  }

  /**
   * Takes what a split of a 2M leaf needs: the PAMT of the new S-EPT page is installed if its range
   * has none yet, and the pair for the guest's range is drawn. EAGAIN asks for another topup.
   */
  Supply take(long septPage, LockMode mode) {
    lock.lock();
    try {
      // Under the read mmu_lock another thread may have drawn pages since needsTopup() was asked.
      if (needsTopup(PageLevel.LEVEL_2M)) {
        kvm.counters().increment(TdxCounter.SPLIT_CACHE_TOO_FEW);
        boolean bug = mode == LockMode.EXCLUSIVE;
        kvm.bugOn(bug, "split cache too small under write mmu_lock");
        return Supply.refused(bug ? Errno.EIO : Errno.EAGAIN);
      }
      int before = pages.count();
      Errno got = kvm.tdxHost().dpamt().get(septPage, pages);
      if (got.isError()) {
        return Supply.refused(got);
      }
      PagePair pair = kvm.tdxHost().dpamt().isEnabled() ? pages.popPair() : null;
      kvm.counters().add(TdxCounter.SPLIT_CACHE_PAGES_OUT, before - pages.count());
      return new Supply(Errno.OK, pair);
    } finally {
      lock.unlock();
    }
  }

  /** Undoes {@link #take} after a failed split: every page that was drawn comes back. */
  void giveBack(Supply supply, long septPage) {
    lock.lock();
    try {
      int before = pages.count();
      PagePair pair = supply.guestPair();
      if (pair != null) {
        pages.push(pair);
      }
      kvm.tdxHost().dpamt().put(septPage, pages);
      kvm.counters().add(TdxCounter.SPLIT_CACHE_PAGES_BACK, pages.count() - before);
    } finally {
      lock.unlock();
    }
  }

  /**
   * Frees every page. Takes no lock: nobody else uses the cache ({@code tdx_free_vm_split_cache}).
   */
  void free() {
    pages.freeAll();
  }
}
