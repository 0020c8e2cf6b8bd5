package dev.septum.tdx;

import dev.septum.dpamt.PagePair;
import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.tdx.module.TdxModuleConfig;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The protocol of the split cache on its real code: count without the lock, top up outside every
 * lock, count again inside the cache's lock, take. Four pages wait at the start; the S-EPT pages
 * are in ranges that have their pair, so that a split takes two.
 */
public final class SplitCacheProgram implements Program {

  /** Pages in the cache at the start: as many as one split may need. */
  public static final int CACHED = 4;

  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;

  private final int splitters;
  private final int toppers;
  private final boolean checksAgain;

  /**
   * So many threads of each kind.
   *
   * @param checksAgain whether a splitter counts again inside the lock, as the code does; without
   *     it, it draws two pairs of a cache that may have been drained since it looked
   */
  public SplitCacheProgram(int splitters, int toppers, boolean checksAgain) {
    this.splitters = splitters;
    this.toppers = toppers;
    this.checksAgain = checksAgain;
  }

  @Override
  public void run(ScheduledKernel kernel) {
    PageAllocator pages = new PageAllocator(kernel, 1L << 30, Placement.SEQUENTIAL, 1);
    Host host = new Host(kernel, pages, TraceSink.OFF);
    TdxHost tdx = new TdxHost(host, TdxModuleConfig.defaults().withNonBlockingResize(true));
    KvmTdx kvm = new KvmTdx(tdx, new AnonymousMemory(pages), KvmTdx.MAP_GPA_MAX_LEN);
    require(kvm.splitCache().topup(LEVEL) == Errno.OK, "no pages at the start");
    require(kvm.splitCache().count() == CACHED, "not four pages at the start");
    List<Long> septPages = new ArrayList<>();
    for (int i = 0; i < splitters; i++) {
      septPages.add(pages.allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL));
      require(tdx.dpamt().get(septPages.get(i)) == Errno.OK, "no pair for an S-EPT page");
    }
    pages.faults().failWhen(kernel.anyMayFail());

    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < splitters; i++) {
      long septPage = septPages.get(i);
      threads.add(kernel.spawn("splitter" + i, () -> split(kvm, septPage)));
    }
    for (int i = 0; i < toppers; i++) {
      threads.add(kernel.spawn("topper" + i, () -> kvm.splitCache().topup(LEVEL)));
    }
    threads.forEach(KernelThread::join);
    checkPages(kvm);
  }

  private void split(KvmTdx kvm, long septPage) {
    SplitCache cache = kvm.splitCache();
    while (true) {
      kvm.mmuLock().lock(LockMode.SHARED);
      boolean done = !cache.needsTopup(LEVEL) && take(kvm, septPage);
      kvm.mmuLock().unlock(LockMode.SHARED);
      if (done || cache.topup(LEVEL).isError()) {
        return;
      }
    }
  }

  private boolean take(KvmTdx kvm, long septPage) {
    SplitCache cache = kvm.splitCache();
    if (!checksAgain) {
      return cache.draw(pages -> takeUnchecked(kvm, pages));
    }
    SplitCache.Supply supply = cache.take(septPage, LockMode.SHARED);
    if (supply.error() == Errno.EAGAIN) {
      return false;
    }
    require(supply.error() == Errno.OK, "the cache refused");
    consume(kvm, supply.guestPair());
    return true;
  }

  private static boolean takeUnchecked(KvmTdx kvm, PamtCache pages) {
    consume(kvm, pages.popPair());
    consume(kvm, pages.popPair());
    return true;
  }

  private static void consume(KvmTdx kvm, @Nullable PagePair pair) {
    if (pair == null) {
      throw new IllegalStateException("a cache that was seen to have two pairs is empty");
    }
    kvm.pages().freePage(pair.first(), PageOwner.PAMT_CACHE);
    kvm.pages().freePage(pair.second(), PageOwner.PAMT_CACHE);
  }

  /** Every page is where it belongs, and every page comes back. */
  private static void checkPages(KvmTdx kvm) {
    require(!kvm.isBugged(), "the VM is bugged");
    require(owned(kvm) == kvm.splitCache().count(), "pages that are not in the cache");
    kvm.splitCache().free();
    require(owned(kvm) == 0, "pages that are lost");
  }

  private static long owned(KvmTdx kvm) {
    return kvm.pages().census().getOrDefault(PageOwner.PAMT_CACHE, 0L);
  }

  private static void require(boolean condition, String otherwise) {
    if (!condition) {
      throw new IllegalStateException(otherwise);
    }
  }
}
