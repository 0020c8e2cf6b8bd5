package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

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

/**
 * Splitters under the read lock, and toppers, at one split cache. The S-EPT pages are in ranges
 * without a pair: each split takes all four pages that it may need, or gives them back.
 */
public final class SplitCacheRace implements Program {

  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;

  private final int splitters;
  private final int toppers;
  private final boolean givesBack;

  /** So many threads of each kind; the splitters' DEMOTE may be refused. */
  public SplitCacheRace(int splitters, int toppers, boolean givesBack) {
    this.splitters = splitters;
    this.toppers = toppers;
    this.givesBack = givesBack;
  }

  @Override
  public void run(ScheduledKernel kernel) {
    PageAllocator pages = new PageAllocator(kernel, 1L << 30, Placement.SCATTERED, 1);
    TdxHost tdx = new TdxHost(new Host(kernel, pages, TraceSink.OFF), TdxModuleConfig.defaults());
    KvmTdx kvm = new KvmTdx(tdx, new AnonymousMemory(pages), KvmTdx.MAP_GPA_MAX_LEN);
    if (splitters > 0) {
      assertThat(kvm.splitCache().topup(LEVEL)).isEqualTo(Errno.OK);
    }
    List<Long> septPages = new ArrayList<>();
    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < splitters; i++) {
      long septPage = pages.allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
      septPages.add(septPage);
      threads.add(kernel.spawn("splitter" + i, () -> split(kvm, septPage)));
    }
    for (int i = 0; i < toppers; i++) {
      threads.add(
          kernel.spawn(
              "topper" + i, () -> assertThat(kvm.splitCache().topup(LEVEL)).isEqualTo(Errno.OK)));
    }
    threads.forEach(KernelThread::join);
    assertThat(kvm.isBugged()).as("bugged").isFalse();
    if (!givesBack) {
      septPages.forEach(tdx.dpamt()::put);
    }
    assertThat(tdx.dpamt().refcounts()).as("users of ranges").isEmpty();
    assertThat(pages.census().getOrDefault(PageOwner.PAMT_CACHE, 0L))
        .as("pages of the cache")
        .isEqualTo(kvm.splitCache().count());
  }

  private void split(KvmTdx kvm, long septPage) {
    SplitCache cache = kvm.splitCache();
    while (true) {
      kvm.mmuLock().lock(LockMode.SHARED);
      boolean done = !cache.needsTopup(LEVEL) && take(kvm, septPage);
      kvm.mmuLock().unlock(LockMode.SHARED);
      if (done) {
        return;
      }
      assertThat(cache.topup(LEVEL)).isEqualTo(Errno.OK);
    }
  }

  private boolean take(KvmTdx kvm, long septPage) {
    SplitCache.Supply supply = kvm.splitCache().take(septPage, LockMode.SHARED);
    if (supply.error() == Errno.EAGAIN) {
      return false;
    }
    assertThat(supply.error()).as("what the cache answers").isEqualTo(Errno.OK);
    assertThat(supply.guestPair()).as("the guest's pair").isNotNull();
    if (givesBack) {
      kvm.splitCache().giveBack(supply, septPage);
    } else {
      kvm.pages().freePage(supply.guestPair().first(), PageOwner.PAMT_CACHE);
      kvm.pages().freePage(supply.guestPair().second(), PageOwner.PAMT_CACHE);
    }
    return true;
  }
}
