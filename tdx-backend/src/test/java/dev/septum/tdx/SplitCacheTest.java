package dev.septum.tdx;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.collect.ImmutableMap;
import dev.septum.dpamt.PagePair;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The per-VM cache for splitting, sentence by sentence of the patch that brought it. */
final class SplitCacheTest extends TdTestCase {

  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;
  private static final LockClass CACHE_LOCK = LockClass.PREALLOC_SPLIT_CACHE_LOCK;

  private final KvmTdx kvm = newVm();
  private final SplitCache cache = kvm.splitCache();
  private final List<Long> septPages = new ArrayList<>();

  private KvmTdx newVm() {
    return new KvmTdx(tdx, new AnonymousMemory(host.pages()), KvmTdx.MAP_GPA_MAX_LEN);
  }

  @AfterEach
  void freeTheCache() {
    kvm.ops().freeExternalPerVmSplitCache(kvm);
    septPages.forEach(page -> host.pages().freePage(page, PageOwner.EXTERNAL_PAGE_TABLE));
  }

  private void fill() {
    assertThat(cache.topup(LEVEL)).isEqualTo(Errno.OK);
  }

  /** A page for a new S-EPT page, in a 2 MiB range that has no page pair yet. */
  private long septPage() {
    long page = host.pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
    septPages.add(page);
    return page;
  }

  /** A page in whose range another user's pair is installed, as long as the test runs. */
  private long backedSeptPage() {
    long page = septPage();
    assertThat(tdx.dpamt().get(page)).isEqualTo(Errno.OK);
    return page;
  }

  /** The pages that wait in a PAMT cache, lowest first: sequential placement gave them so. */
  private List<Long> waitingPages() {
    List<Long> waiting = new ArrayList<>();
    for (long pfn = 0; pfn < 512; pfn++) {
      if (host.pages().ownerOf(pfn) == PageOwner.PAMT_CACHE) {
        waiting.add(pfn);
      }
    }
    return waiting;
  }

  private SplitCache.Supply take(long septPage, LockMode mode) {
    kvm.mmuLock().lock(mode);
    try {
      return cache.take(septPage, mode);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  private void undo(SplitCache.Supply supply, long septPage) {
    cache.giveBack(supply, septPage);
  }

  private long count(TdxCounter counter) {
    return kvm.counters().get(counter);
  }

  @Nested
  class Init {

    @Test
    void creatingAVm_makesAnEmptyCache() {
      assertThat(kvm.state()).isEqualTo(TdState.UNINITIALIZED);
      assertThat(cache.count()).isZero();
      assertThat(owned()).isEmpty();
    }

    @Test
    void creatingAVm_makesOneLockForItsCache() {
      int before = kernel.spinLocks(CACHE_LOCK).size();
      newVm();
      assertThat(kernel.spinLocks(CACHE_LOCK)).hasSize(before + 1);
    }

    @Test
    void theCache_belongsToOneVm() {
      KvmTdx other = newVm();
      fill();
      assertThat(other.splitCacheCount()).isZero();
      assertThat(other.splitCache().needsTopup(LEVEL)).isTrue();
    }
  }

  @Nested
  class MinSize {

    @Test
    void withDynamicPamt_isTwoPairs() {
      assertThat(cache.minSize(LEVEL)).isEqualTo(4);
    }

    @ParameterizedTest
    @EnumSource(names = {"LEVEL_4K", "LEVEL_1G"})
    void ofAnotherLevelThan2M_bugsTheVmAndAnswersAllTheSame(PageLevel level) {
      assertThat(cache.minSize(level)).isEqualTo(4);
      assertThat(kvm.isBugged()).isTrue();
      assertThat(String.valueOf(kvm.splat())).contains("level != PG_LEVEL_2M");
    }

    @Test
    void of2M_doesNotBugTheVm() {
      cache.minSize(LEVEL);
      assertThat(kvm.isBugged()).isFalse();
    }
  }

  @Nested
  class Topup {

    @Test
    void anEmptyCache_getsFourPages() {
      fill();
      assertThat(cache.count()).isEqualTo(4);
      assertThat(owned()).isEqualTo(Map.of(PageOwner.PAMT_CACHE, 4L));
      assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
      assertThat(count(TdxCounter.SPLIT_CACHE_TOPUPS)).isEqualTo(1);
    }

    @Test
    void aFullCache_allocatesNothingAndTakesNoLock() {
      fill();
      Map<LockClass, Long> before = kernel.taken();
      fill();
      assertThat(kernel.taken()).isEqualTo(before);
      assertThat(cache.count()).isEqualTo(4);
      assertThat(count(TdxCounter.SPLIT_CACHE_TOPUPS)).isEqualTo(1);
    }

    @Test
    void aPartlyFilledCache_getsOnlyWhatIsMissing() {
      fill();
      long page = backedSeptPage();
      SplitCache.Supply supply = take(page, LockMode.EXCLUSIVE);
      assertThat(cache.count()).isEqualTo(2);

      fill();
      assertThat(cache.count()).isEqualTo(4);
      assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(6);
      undo(supply, page);
      tdx.dpamt().put(page);
    }

    @Test
    void whereTheLockIsHeldElsewhere_readsTheCountWithoutIt() {
      fill();
      whileHeldElsewhere(splitCacheLock(), () -> assertThat(cache.topup(LEVEL)).isSameAs(Errno.OK));
    }

    @Test
    void aPage_isEnqueuedUnderTheLock() {
      kernel.beforeNext(CACHE_LOCK, () -> assertThat(cache.count()).isZero());
      fill();
      assertThat(kernel.taken()).isEqualTo(Map.of(CACHE_LOCK, 4L));
    }

    @Test
    void aPush_waitsForAnotherHolderOfTheLock_andItsPageIsAllocatedOutsideIt() {
      Gate atTheLock = new Gate();
      KernelThread[] topper = new KernelThread[1];
      whileHeldElsewhere(
          splitCacheLock(),
          () -> {
            kernel.beforeNext(CACHE_LOCK, atTheLock::pass);
            topper[0] = kernel.spawn("topper", SplitCacheTest.this::fill);
            atTheLock.awaitArrival();
            assertThat(owned()).isEqualTo(Map.of(PageOwner.PAMT_CACHE, 1L));
            atTheLock.open();
            assertThat(cache.count()).isZero();
          });
      topper[0].join();
      assertThat(cache.count()).isEqualTo(4);
    }

    @Test
    void eachAllocation_mayMeetNoSpinningLock_soTheCallerDropsMmuLock() {
      kvm.mmuLock().lock(LockMode.EXCLUSIVE);
      try {
        assertThatThrownBy(() -> cache.topup(LEVEL))
            .isInstanceOf(LockChecker.LockViolation.class)
            .hasMessageContaining("allocating a page for pamt_cache while holding mmu_lock");
      } finally {
        kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
      }
      assertThat(owned()).isEmpty();
    }

    @Test
    void eachAllocation_mayBeInNoRcuSection() {
      kernel.rcu().readLock();
      try {
        assertThatThrownBy(() -> cache.topup(LEVEL))
            .isInstanceOf(LockChecker.LockViolation.class)
            .hasMessageContaining("rcu_read_lock");
      } finally {
        kernel.rcu().readUnlock();
      }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void withoutMemoryForPageN_isEnomemAndKeepsWhatIsQueued(int n) {
      host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), n);

      assertThat(cache.topup(LEVEL)).isEqualTo(Errno.ENOMEM);
      assertThat(cache.count()).isEqualTo(n - 1);
      assertThat(cache.needsTopup(LEVEL)).isTrue();
      assertThat(host.pages().census()).containsEntry(PageOwner.PAMT_CACHE, n - 1L);
      kernel.locks().assertNoneHeld("a failed topup");

      fill();
      assertThat(cache.count()).isEqualTo(4);
      assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
    }

    @Test
    void twoAtOnceFromThree_makeFive_andTheSurplusStaysUntilTheVmGoes() {
      host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 4);
      assertThat(cache.topup(LEVEL)).isEqualTo(Errno.ENOMEM);
      // The first has seen 3 and allocated when the second sees 3 too.
      kernel.beforeNext(
          CACHE_LOCK, () -> kernel.spawn("second topper", SplitCacheTest.this::fill).join());
      fill();
      assertThat(cache.count()).isEqualTo(5);

      fill();
      assertThat(cache.count()).isEqualTo(5);
      new TdxCommands(kvm).destroy();
      assertThat(cache.count()).isZero();
      assertThat(owned()).isEmpty();
    }

    @Test
    void outsideVcpuThreads_leavesTheVcpusCachesAlone() {
      Vmm vmm = boot();
      VcpuTdx vcpu = vmm.vcpus().get(0);
      int before = vcpu.pamtCache().count();
      assertThat(Vcpu.running()).isNull();

      assertThat(vmm.kvm().splitCache().topup(LEVEL)).isEqualTo(Errno.OK);
      assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4);
      assertThat(vcpu.pamtCache().count()).isEqualTo(before);
    }
  }

  @Nested
  class NeedsTopup {

    @Test
    void isTrueBelowFourPages() {
      for (int pages = 0; pages < 4; pages++) {
        assertThat(cache.needsTopup(LEVEL)).as("with %s pages", pages).isTrue();
        host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 2);
        cache.topup(LEVEL);
        host.pages().faults().clear();
      }
      assertThat(cache.count()).isEqualTo(4);
      assertThat(cache.needsTopup(LEVEL)).isFalse();
    }

    @Test
    void takesNoLock() {
      fill();
      Map<LockClass, Long> before = kernel.taken();
      assertThat(cache.needsTopup(LEVEL)).isFalse();
      assertThat(kernel.taken()).isEqualTo(before);
    }

    @Test
    void whereTheLockIsHeldElsewhere_answersAtOnce() {
      whileHeldElsewhere(splitCacheLock(), () -> assertThat(cache.needsTopup(LEVEL)).isTrue());
    }

    @Test
    void underWriteMmuLock_isFinal_sinceNobodyElseGetsToDequeue() {
      fill();
      long page = septPage();
      long othersPage = septPage();
      Gate other = new Gate();
      KernelThread otherSplit;
      kvm.mmuLock().lock(LockMode.EXCLUSIVE);
      try {
        assertThat(cache.needsTopup(LEVEL)).isFalse();
        kernel.beforeNext(LockClass.MMU_LOCK, other::pass);
        otherSplit =
            kernel.spawn(
                "other split",
                () -> {
                  SplitCache.Supply late = take(othersPage, LockMode.SHARED);
                  assertThat(late.error()).isEqualTo(Errno.EAGAIN);
                });
        other.awaitArrival();
        other.open();
        assertThat(cache.count()).isEqualTo(4);
        SplitCache.Supply supply = cache.take(page, LockMode.EXCLUSIVE);
        assertThat(supply.error()).isEqualTo(Errno.OK);
        assertThat(cache.count()).isZero();
        host.pages().freePage(pairOf(supply).first(), PageOwner.PAMT_CACHE);
        host.pages().freePage(pairOf(supply).second(), PageOwner.PAMT_CACHE);
      } finally {
        kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
      }
      otherSplit.join();
      tdx.dpamt().put(page);
    }

    @Test
    void underReadMmuLock_isCheckedAgainInsideTheCacheLock() {
      fill();
      long page = septPage();
      Map<Long, Long> refcounts = tdx.dpamt().refcounts();
      kvm.mmuLock().lock(LockMode.SHARED);
      SplitCache.Supply supply;
      try {
        assertThat(cache.needsTopup(LEVEL)).isFalse();
        // Another split under the read lock takes everything before this one has the cache lock.
        kernel.beforeNext(CACHE_LOCK, cache::free);
        supply = cache.take(page, LockMode.SHARED);
      } finally {
        kvm.mmuLock().unlock(LockMode.SHARED);
      }
      assertThat(supply).isEqualTo(new SplitCache.Supply(Errno.EAGAIN, null));
      assertThat(count(TdxCounter.SPLIT_CACHE_TOO_FEW)).isEqualTo(1);
      assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isZero();
      assertThat(tdx.dpamt().refcounts()).isEqualTo(refcounts);
      assertThat(kvm.isBugged()).isFalse();

      fill();
      SplitCache.Supply again = take(page, LockMode.SHARED);
      assertThat(again.error()).isEqualTo(Errno.OK);
      undo(again, page);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void underReadMmuLock_withOneToThreePagesLeft_takesNone(int left) {
      host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), left + 1L);
      cache.topup(LEVEL);

      assertThat(take(septPage(), LockMode.SHARED).error()).isEqualTo(Errno.EAGAIN);
      assertThat(cache.count()).isEqualTo(left);
    }

    @Test
    void wrongUnderWriteMmuLock_isABugOfTheVm() {
      assertThat(take(septPage(), LockMode.EXCLUSIVE).error()).isEqualTo(Errno.EIO);
      assertThat(kvm.isBugged()).isTrue();
    }
  }

  @Nested
  class Dequeue {

    @Test
    void holdsTheCacheLock() {
      fill();
      long page = septPage();
      Gate atTheLock = new Gate();
      SplitCache.Supply[] supply = new SplitCache.Supply[1];
      KernelThread[] splitter = new KernelThread[1];
      whileHeldElsewhere(
          splitCacheLock(),
          () -> {
            kernel.beforeNext(CACHE_LOCK, atTheLock::pass);
            splitter[0] =
                kernel.spawn("splitter", () -> supply[0] = take(page, LockMode.EXCLUSIVE));
            atTheLock.awaitArrival();
            atTheLock.open();
            assertThat(cache.count()).isEqualTo(4);
          });
      splitter[0].join();
      assertThat(cache.count()).isZero();
      undo(supply[0], page);
    }

    @Test
    void takesWhatWasPutInLast() {
      fill();
      List<Long> pushed = waitingPages();
      long page = backedSeptPage();
      SplitCache.Supply supply = take(page, LockMode.EXCLUSIVE);
      assertThat(pairOf(supply)).isEqualTo(new PagePair(pushed.get(3), pushed.get(2)));
      undo(supply, page);

      // And what came back last goes out first.
      SplitCache.Supply again = take(page, LockMode.EXCLUSIVE);
      assertThat(again.guestPair()).isEqualTo(supply.guestPair());
      undo(again, page);
      tdx.dpamt().put(page);
    }

    @Test
    void whereTheSeptPagesRangeIsBacked_takesTwoPages() {
      fill();
      long page = backedSeptPage();
      SplitCache.Supply supply = take(page, LockMode.EXCLUSIVE);
      assertThat(supply.error()).isEqualTo(Errno.OK);
      assertThat(supply.guestPair()).isNotNull();
      assertThat(cache.count()).isEqualTo(2);
      assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(2);
      assertThat(tdx.dpamt().refcounts()).isEqualTo(ImmutableMap.of(0L, 2L));
      assertThat(calls(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)).isEqualTo(1);

      undo(supply, page);
      assertThat(cache.count()).isEqualTo(4);
      tdx.dpamt().put(page);
    }

    @Test
    void whereTheSeptPagesRangeIsNotBacked_takesFourPagesAndInstallsTwo() {
      fill();
      long page = septPage();
      SplitCache.Supply supply = take(page, LockMode.EXCLUSIVE);
      assertThat(supply.error()).isEqualTo(Errno.OK);
      assertThat(cache.count()).isZero();
      assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
      assertThat(tdx.dpamt().refcounts()).isEqualTo(ImmutableMap.of(0L, 1L));
      assertThat(owned())
          .containsEntry(PageOwner.PAMT_CACHE, 2L)
          .containsEntry(PageOwner.PAMT_PAGE, 2L);
      undo(supply, page);
    }

    @ParameterizedTest
    @ValueSource(longs = {TdxStatus.TDX_OPERAND_BUSY, TdxStatus.TDX_PAGE_NOT_FREE})
    void wherePamtAddFails_isAnErrorAndTakesNothing(long status) {
      fill();
      List<Long> waiting = waitingPages();
      injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, status);

      assertThat(take(septPage(), LockMode.EXCLUSIVE)).isEqualTo(refused(Errno.EIO));
      assertThat(cache.count()).isEqualTo(4);
      assertThat(waitingPages()).isEqualTo(waiting);
      assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isZero();
      assertThat(tdx.dpamt().refcounts()).isEmpty();
      assertThat(kvm.isBugged()).isFalse();
    }

    private SplitCache.Supply refused(Errno error) {
      return new SplitCache.Supply(error, null);
    }
  }

  @Nested
  class Free {

    @Test
    void givesEveryPageBackWithoutALock() {
      fill();
      Map<LockClass, Long> before = kernel.taken();
      cache.free();
      assertThat(kernel.taken()).isEqualTo(before);
      assertThat(cache.count()).isZero();
      assertThat(owned()).isEmpty();
    }

    @Test
    void whereTheLockIsHeldElsewhere_doesNotWait() {
      fill();
      whileHeldElsewhere(splitCacheLock(), cache::free);
      assertThat(cache.count()).isZero();
    }

    @Test
    void ofAnEmptyCache_doesNothing() {
      cache.free();
      assertThat(owned()).isEmpty();
    }
  }

  @Nested
  class Hooks {

    @Test
    void theOps_areTheCachesOwn() {
      assertThat(needsTopup()).isTrue();
      assertThat(kvm.ops().topupExternalPerVmSplitCache(kvm, LEVEL)).isEqualTo(Errno.OK);
      assertThat(needsTopup()).isFalse();
      assertThat(kvm.splitCacheCount()).isEqualTo(4);
      kvm.ops().freeExternalPerVmSplitCache(kvm);
      assertThat(kvm.splitCacheCount()).isZero();
    }

    private boolean needsTopup() {
      kvm.mmuLock().lock(LockMode.EXCLUSIVE);
      try {
        return kvm.ops().needTopupExternalPerVmSplitCache(kvm, LEVEL);
      } finally {
        kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
      }
    }
  }

  private static PagePair pairOf(SplitCache.Supply supply) {
    return requireNonNull(supply.guestPair());
  }
}
