package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.PagePair;
import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.Carrier;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.Finding;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.Schedule;
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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The protocol of the split cache, on its real code, under every schedule: count without the lock,
 * top up outside every lock, count again inside the cache's lock, take.
 */
final class SplitCacheSchedulesTest {

  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;

  /** How a splitter takes its pages once it has seen enough of them. */
  private enum Taking {
    /** As the code does. */
    CHECKED_AGAIN,
    /** The mutant: believes what it saw before it had the cache's lock. */
    UNCHECKED
  }

  /** A VM whose cache is used by splitters and toppers. */
  private static final class Rig {
    final ScheduledKernel kernel;
    final Host host;
    final TdxHost tdx;
    final KvmTdx kvm;
    final SplitCache cache;
    final List<KernelThread> threads = new ArrayList<>();
    final List<Long> septPages = new ArrayList<>();

    Rig(ScheduledKernel kernel, int cached, int splitters) {
      this.kernel = kernel;
      PageAllocator pages = new PageAllocator(kernel, 1L << 30, Placement.SEQUENTIAL, 1);
      host = new Host(kernel, pages, TraceSink.OFF);
      tdx = new TdxHost(host, TdxModuleConfig.defaults().withNonBlockingResize(true));
      kvm = new KvmTdx(tdx, new AnonymousMemory(pages), KvmTdx.MAP_GPA_MAX_LEN);
      cache = kvm.splitCache();
      if (cached < 4) {
        pages.faults().failNext(PageOwner.PAMT_CACHE.tag(), cached + 1L);
      }
      cache.topup(LEVEL);
      pages.faults().clear();
      assertThat(cache.count()).isEqualTo(cached);
      for (int i = 0; i < splitters; i++) {
        septPages.add(septPage());
      }
    }

    /** A page for a new S-EPT page, in a range that has its page pair. */
    private long septPage() {
      long page = host.pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
      assertThat(tdx.dpamt().get(page)).isEqualTo(Errno.OK);
      return page;
    }

    /** Splits one leaf, as far as the cache has to do with it. */
    void splitter(int number, LockMode mode, Taking taking) {
      long septPage = septPages.get(number);
      threads.add(kernel.spawn("splitter" + number, () -> split(septPage, mode, taking)));
    }

    private void split(long septPage, LockMode mode, Taking taking) {
      while (true) {
        kvm.mmuLock().lock(mode);
        if (!cache.needsTopup(LEVEL)) {
          boolean done = taking == Taking.UNCHECKED ? takeUnchecked() : take(septPage, mode);
          kvm.mmuLock().unlock(mode);
          if (done) {
            return;
          }
        } else {
          kvm.mmuLock().unlock(mode);
        }
        if (cache.topup(LEVEL).isError()) {
          return;
        }
      }
    }

    private boolean take(long septPage, LockMode mode) {
      SplitCache.Supply supply = cache.take(septPage, mode);
      if (supply.error() == Errno.EAGAIN) {
        assertThat(mode).as("mmu_lock when the cache was drained").isEqualTo(LockMode.SHARED);
        return false;
      }
      assertThat(supply.error()).isEqualTo(Errno.OK);
      consume(supply.guestPair());
      return true;
    }

    private boolean takeUnchecked() {
      consume(cache.draw(PamtCache::popPair));
      consume(cache.draw(PamtCache::popPair));
      return true;
    }

    private void consume(@Nullable PagePair pair) {
      assertThat(pair).as("a pair of a cache that was seen to have two").isNotNull();
      host.pages().freePage(pair.first(), PageOwner.PAMT_CACHE);
      host.pages().freePage(pair.second(), PageOwner.PAMT_CACHE);
    }

    void topper() {
      threads.add(kernel.spawn("topper", () -> cache.topup(LEVEL)));
    }

    /** Every page is where it belongs, and every page comes back. */
    void joinAndCheck() {
      threads.forEach(KernelThread::join);
      assertThat(kvm.isBugged()).as("bugged").isFalse();
      assertThat(host.pages().census().get(PageOwner.PAMT_CACHE))
          .as("pages in the cache")
          .isEqualTo(cache.count());
      cache.free();
      assertThat(host.pages().census().get(PageOwner.PAMT_CACHE)).isZero();
    }
  }

  /** Splitters and toppers of one cache, one allocation of which may fail. */
  private static Program program(
      int cached, int splitters, int toppers, LockMode mode, Taking taking) {
    return kernel -> {
      Rig rig = new Rig(kernel, cached, splitters);
      rig.host.pages().faults().failWhen(kernel.anyMayFail());
      for (int i = 0; i < splitters; i++) {
        rig.splitter(i, mode, taking);
      }
      for (int i = 0; i < toppers; i++) {
        rig.topper();
      }
      rig.joinAndCheck();
    };
  }

  private static Exploration exploration(
      int cached, int splitters, int toppers, LockMode mode, Taking taking) {
    return Exploration.of(program(cached, splitters, toppers, mode, taking)).pagesAreAlike();
  }

  private static ExplorationResult assertSound(Exploration exploration, boolean mustBeComplete) {
    ExplorationResult result = exploration.exhaustive();
    assertThat(result.failures()).isEmpty();
    if (mustBeComplete) {
      assertThat(result.isComplete()).as("%s", result).isTrue();
    }
    return result;
  }

  @ParameterizedTest
  @EnumSource
  void twoToppersAndAFailedAllocation_areSound(LockMode mode) {
    for (int cached = 0; cached <= 4; cached++) {
      assertSound(exploration(cached, 0, 2, mode, Taking.CHECKED_AGAIN).mostFailures(1), true);
    }
  }

  @ParameterizedTest
  @EnumSource
  void aSplitterAndATopperAndAFailedAllocation_areSound(LockMode mode) {
    for (int cached = 2; cached <= 4; cached++) {
      assertSound(exploration(cached, 1, 1, mode, Taking.CHECKED_AGAIN).mostFailures(1), true);
    }
  }

  @ParameterizedTest
  @EnumSource
  void twoSplittersAndAFailedAllocation_areSound(LockMode mode) {
    for (int cached = 3; cached <= 4; cached++) {
      assertSound(exploration(cached, 2, 0, mode, Taking.CHECKED_AGAIN).mostFailures(1), true);
    }
  }

  @ParameterizedTest
  @EnumSource
  void twoSplittersAndATopper_areSound(LockMode mode) {
    assertSound(exploration(4, 2, 1, mode, Taking.CHECKED_AGAIN), true);
  }

  /**
   * To the end where threads are cheap: 247,232 schedules under the read lock and 83,360 under the
   * write lock, 10 s and 3 s on JDK 25. On platform threads the first 3,000 of each.
   */
  @ParameterizedTest
  @EnumSource
  void twoSplittersTwoToppersAndAFailedAllocation_areSound(LockMode mode) {
    boolean isFast = Carrier.VIRTUAL.isUsable();
    assertSound(
        exploration(4, 2, 2, mode, Taking.CHECKED_AGAIN)
            .mostFailures(1)
            .mostSchedules(isFast ? 1_000_000 : 3_000),
        isFast);
  }

  @Test
  void manyThreadsAtRandom_areSound() {
    Exploration exploration =
        exploration(4, 4, 3, LockMode.SHARED, Taking.CHECKED_AGAIN)
            .mostFailures(2)
            .mostSchedules(300);
    assertThat(exploration.random(1).failures()).isEmpty();
    assertThat(exploration.pct(1, 3).failures()).isEmpty();
  }

  @Test
  void withoutTheSecondCheck_underReadLock_theDrainedCacheIsFoundShrunkAndReplayed() {
    Exploration exploration =
        exploration(4, 2, 2, LockMode.SHARED, Taking.UNCHECKED).mostSchedules(5_000);

    ExplorationResult.Failure found = exploration.stopAtFirst().random(1).failures().get(0);
    assertThat(found.finding().kind()).isEqualTo(Finding.Kind.FAILURE);
    assertThat(found.finding().report()).contains("a cache that was seen to have two");

    ExplorationResult.Failure shrunk = exploration.shrink(found);
    assertThat(shrunk.finding().isLike(found.finding())).isTrue();
    assertThat(shrunk.preemptions()).isEqualTo(1);

    Schedule readBack = Schedule.parse(shrunk.schedule().toText());
    ExplorationResult again = exploration.replay(readBack);
    assertThat(again.failures().get(0).finding()).isEqualTo(shrunk.finding());
  }

  @Test
  void withoutTheSecondCheck_theDrainedCacheIsFoundBySearchingToo() {
    ExplorationResult result = exploration(4, 2, 0, LockMode.SHARED, Taking.UNCHECKED).exhaustive();
    assertThat(result.isComplete()).isTrue();
    assertThat(result.failures()).isNotEmpty();
  }

  @Test
  void withoutTheSecondCheck_underWriteLock_nothingIsWrong() {
    assertSound(exploration(4, 2, 0, LockMode.EXCLUSIVE, Taking.UNCHECKED), true);
  }
}
