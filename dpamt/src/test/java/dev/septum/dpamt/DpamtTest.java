package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Errno;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;
import org.junit.jupiter.params.provider.ValueSource;

class DpamtTest extends DpamtFixture {

  private static final long BUSY = 0x8000_0200_0000_000cL;

  @Test
  void get_firstOfRange_installsAPairFromTheAllocator() {
    assertThat(dpamt.get(PFN)).isEqualTo(Errno.OK);

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(600 * RANGE, 1L));
    assertThat(module.log()).containsExactly("add 600", "add 600 done");
    assertThat(pages.census())
        .containsEntry(PageOwner.PAMT_PAGE, 2L)
        .containsEntry(PageOwner.FREE, HOST_RANGES * RANGE - 2);
    assertThat(counted()).isEqualTo(Map.of("slow_gets", 1L, "pairs_added", 1L));
  }

  @Test
  void get_laterOnesOfRange_onlyCount() {
    dpamt.get(PFN);
    State one = state();

    assertThat(dpamt.get(600 * RANGE)).isEqualTo(Errno.OK);
    assertThat(dpamt.get(600 * RANGE + 511)).isEqualTo(Errno.OK);

    assertThat(dpamt.refcount(PFN)).isEqualTo(3);
    assertThat(state().census()).isEqualTo(one.census());
    assertThat(module.log()).hasSize(2);
    assertThat(count(PamtCounter.FAST_GETS)).isEqualTo(2);
  }

  @Test
  void get_withCache_takesThePairFromItsTop() {
    PamtCache cache = cacheOf(4);
    PagePair top = peek(cache);

    assertThat(dpamt.get(PFN, cache)).isEqualTo(Errno.OK);

    assertThat(module.pairs()).isEqualTo(Map.of(600 * RANGE, top));
    assertThat(cache.count()).isEqualTo(2);
    assertThat(pages.census()).containsEntry(PageOwner.PAMT_CACHE, 2L);
  }

  @Test
  void get_pairInstalledAlready_leavesTheCacheAlone() {
    PamtCache cache = cacheOf(2);
    dpamt.get(PFN);

    assertThat(dpamt.get(PFN, cache)).isEqualTo(Errno.OK);

    assertThat(cache.count()).isEqualTo(2);
    assertThat(dpamt.refcount(PFN)).isEqualTo(2);
  }

  @Test
  void get_pairInstalledAlready_succeedsWithAnEmptyCache() {
    dpamt.get(PFN);

    assertThat(dpamt.get(PFN, cacheOf(0))).isEqualTo(Errno.OK);
  }

  @ParameterizedTest
  @EnumSource(names = "ADDED", mode = Mode.EXCLUDE)
  void get_addFails_isEioAndChangesNothing(PamtAddStatus status) {
    module.failNextAdd(status);
    State before = state();

    assertThat(dpamt.get(PFN)).isEqualTo(Errno.EIO);

    assertThat(state()).isEqualTo(before);
    assertThat(counted()).isEqualTo(Map.of("slow_gets", 1L, "add_failures", 1L));
  }

  @ParameterizedTest
  @EnumSource(names = "ADDED", mode = Mode.EXCLUDE)
  void get_addFails_putsThePairBackOnTopOfTheCache(PamtAddStatus status) {
    PamtCache cache = cacheOf(4);
    PagePair top = peek(cache);
    module.failNextAdd(status);
    State before = state();

    assertThat(dpamt.get(PFN, cache)).isEqualTo(Errno.EIO);

    assertThat(state()).isEqualTo(before);
    assertThat(peek(cache)).isEqualTo(top);
  }

  @ParameterizedTest
  @EnumSource(names = "ADDED", mode = Mode.EXCLUDE)
  void get_afterAnAddThatFailed_installsNormally(PamtAddStatus status) {
    module.failNextAdd(status);
    dpamt.get(PFN);

    assertThat(dpamt.get(PFN)).isEqualTo(Errno.OK);
    assertThat(dpamt.refcount(PFN)).isEqualTo(1);
  }

  @Test
  void get_addFailsTwice_warnsOnce() {
    module.failNextAdd(PamtAddStatus.BUSY);
    module.failNextAdd(PamtAddStatus.FAILED);

    dpamt.get(PFN);
    dpamt.get(PFN);

    assertThat(RecordingLog.LINES).containsExactly("WARN PAMT.ADD of pfn 0x4b000: BUSY");
    assertThat(count(PamtCounter.ADD_FAILURES)).isEqualTo(2);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void get_pageOfThePairCannotBeHad_isEnomemAndChangesNothing(int which) {
    pages.faults().failNext("pamt_cache", which);
    State before = state();

    assertThat(dpamt.get(PFN)).isEqualTo(Errno.ENOMEM);

    assertThat(state()).isEqualTo(before);
    assertThat(module.log()).isEmpty();
    assertThat(counted()).isEqualTo(Map.of("slow_gets", 1L, "pair_shortages", 1L));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void get_cacheWithoutAPair_isEnomemWithoutAskingTheAllocator(int cached) {
    PamtCache cache = cacheOf(cached);
    State before = state();
    long asked = pages.faults().callsAt("pamt_cache");

    assertThat(dpamt.get(PFN, cache)).isEqualTo(Errno.ENOMEM);

    assertThat(state()).isEqualTo(before);
    assertThat(pages.faults().callsAt("pamt_cache")).isEqualTo(asked);
    assertThat(module.log()).isEmpty();
  }

  @Test
  void get_underASpinningLock_isAViolationEvenIfNothingWouldBeAllocated() {
    dpamt.get(PFN);
    SpinLock lock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    lock.lock();

    assertThatIllegalStateException()
        .isThrownBy(() -> dpamt.get(PFN))
        .withMessageContaining("sleeping function called from atomic context")
        .withMessageContaining("prealloc_split_cache_lock");

    lock.unlock();
    assertThat(dpamt.refcount(PFN)).isEqualTo(1);
  }

  @Test
  void getWithCacheAndPut_underTheCachesLock_areAllowed() {
    PamtCache cache = cacheOf(2);
    SpinLock lock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    lock.lock();

    assertThat(dpamt.get(PFN, cache)).isEqualTo(Errno.OK);
    dpamt.put(PFN);

    lock.unlock();
    assertThat(dpamt.refcounts()).isEmpty();
  }

  @Test
  void put_notTheLast_onlyCounts() {
    dpamt.get(PFN);
    dpamt.get(PFN);

    dpamt.put(PFN);

    assertThat(dpamt.refcount(PFN)).isEqualTo(1);
    assertThat(module.log()).hasSize(2);
    assertThat(count(PamtCounter.FAST_PUTS)).isEqualTo(1);
    assertThat(count(PamtCounter.SLOW_PUTS)).isZero();
  }

  @Test
  void put_theLast_givesThePairBackToTheAllocator() {
    State before = state();
    dpamt.get(PFN);

    dpamt.put(PFN);

    assertThat(state()).isEqualTo(before);
    assertThat(module.log())
        .containsExactly("add 600", "add 600 done", "remove 600", "remove 600 done");
    assertThat(counted())
        .isEqualTo(
            Map.of("slow_gets", 1L, "pairs_added", 1L, "slow_puts", 1L, "pairs_removed", 1L));
  }

  @Test
  void get_afterTheLastPut_addsAnew() {
    dpamt.get(PFN);
    dpamt.put(PFN);

    assertThat(dpamt.get(PFN)).isEqualTo(Errno.OK);

    assertThat(dpamt.refcount(PFN)).isEqualTo(1);
    assertThat(count(PamtCounter.PAIRS_ADDED)).isEqualTo(2);
  }

  @Test
  void putIntoACache_theLast_givesThePairBackToTheCache() {
    PamtCache cache = cacheOf(2);
    State before = state();
    assertThat(dpamt.get(PFN, cache)).isEqualTo(Errno.OK);
    assertThat(cache.count()).isZero();

    dpamt.put(PFN, cache);

    assertThat(state()).isEqualTo(before);
    assertThat(cache.count()).isEqualTo(2);
  }

  @Test
  void putIntoACache_notTheLast_onlyCounts() {
    PamtCache cache = cacheOf(4);
    dpamt.get(PFN, cache);
    dpamt.get(PFN, cache);

    dpamt.put(PFN, cache);

    assertThat(dpamt.refcount(PFN)).isEqualTo(1);
    assertThat(cache.count()).isEqualTo(2);
  }

  @Test
  void put_removeFails_leavesTheRangeAsIfItHadOneUser() {
    dpamt.get(PFN);
    State installed = state();
    module.failRemovesIf(() -> true);

    dpamt.put(PFN);

    assertThat(state()).isEqualTo(installed);
    assertThat(count(PamtCounter.REMOVE_FAILURES)).isEqualTo(1);
    assertThat(count(PamtCounter.PAIRS_REMOVED)).isZero();
  }

  @Test
  void getAndPut_afterARemoveThatFailed_useThePairThatStayed() {
    dpamt.get(PFN);
    module.failRemovesIf(() -> true);
    dpamt.put(PFN);
    module.failRemovesIf(() -> false);
    State stuck = state();

    assertThat(dpamt.get(PFN, cacheOf(0))).isEqualTo(Errno.OK);
    dpamt.put(PFN);

    assertThat(state().refcounts()).isEqualTo(stuck.refcounts());
    assertThat(state().census()).isEqualTo(stuck.census());
  }

  @Test
  void put_removeFailsTwice_warnsOnce() {
    module.failRemovesIf(() -> true);
    dpamt.get(PFN);
    dpamt.get(OTHER_PFN);

    dpamt.put(PFN);
    dpamt.put(OTHER_PFN);

    assertThat(RecordingLog.LINES)
        .containsExactly(
            "WARN PAMT.REMOVE of pfn 0x4b000 failed: its range is for 4K pages only from now on");
    assertThat(count(PamtCounter.REMOVE_FAILURES)).isEqualTo(2);
  }

  @Test
  void put_ofWhatNobodyGot_isTheCallersMistake() {
    dpamt.get(OTHER_PFN);
    State before = state();

    assertThatIllegalStateException()
        .isThrownBy(() -> dpamt.put(PFN))
        .withMessage("put of pfn 0x4b04d, which nobody got");

    assertThat(state()).isEqualTo(before);
  }

  @Test
  void demote_succeeds_givesTheRange512UsersAndTheModuleThePair() {
    PagePair pair = newPair();

    assertThat(dpamt.demote(OTHER_PFN, pair, () -> module.demote(OTHER_PFN, pair))).isZero();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(OTHER_PFN, 512L));
    assertThat(pages.census())
        .containsEntry(PageOwner.PAMT_PAGE, 2L)
        .containsEntry(PageOwner.PAMT_CACHE, 0L);
    assertThat(dpamt.pairsInstalled()).isEqualTo(1);
    assertThat(counted()).isEqualTo(Map.of("pairs_demoted", 1L));
  }

  @Test
  void demote_thenEachOf512PagesPut_takesThePairAwayWithTheLast() {
    State before = state();
    PagePair pair = newPair();
    dpamt.demote(OTHER_PFN, pair, () -> module.demote(OTHER_PFN, pair));

    for (int i = 0; i < 511; i++) {
      dpamt.put(OTHER_PFN + i);
      assertThat(dpamt.refcount(OTHER_PFN)).isEqualTo(511 - i);
      assertThat(module.pairs()).containsOnlyKeys(OTHER_PFN);
    }
    dpamt.put(OTHER_PFN + 511);

    assertThat(state()).isEqualTo(before);
    assertThat(count(PamtCounter.FAST_PUTS)).isEqualTo(511);
    assertThat(count(PamtCounter.SLOW_PUTS)).isEqualTo(1);
  }

  @Test
  void demote_fails_changesNothingAndTheCallerKeepsThePair() {
    PagePair pair = newPair();
    State before = state();

    assertThat(dpamt.demote(OTHER_PFN, pair, () -> BUSY)).isEqualTo(BUSY);

    assertThat(state()).isEqualTo(before);
    assertThat(counted()).isEmpty();
    free(pair);
  }

  @Test
  void demote_busyOnce_succeedsWithTheSamePair() {
    PagePair pair = newPair();
    dpamt.demote(OTHER_PFN, pair, () -> BUSY);

    assertThat(dpamt.demote(OTHER_PFN, pair, () -> module.demote(OTHER_PFN, pair))).isZero();

    assertThat(module.pairs()).isEqualTo(Map.of(OTHER_PFN, pair));
  }

  @Test
  void demote_ofARangeInUse_isTheCallersMistakeAndRunsNothing() {
    dpamt.get(PFN);
    PagePair pair = newPair();
    AtomicInteger runs = new AtomicInteger();

    assertThatIllegalStateException()
        .isThrownBy(() -> dpamt.demote(600 * RANGE, pair, runs::incrementAndGet))
        .withMessage("DEMOTE of pfn 0x4b000, whose range has a pair and 1 users");

    assertThat(runs).hasValue(0);
    free(pair);
  }

  @Test
  void demote_insideARange_isTheCallersMistake() {
    PagePair pair = newPair();
    assertThatIllegalArgumentException()
        .isThrownBy(() -> dpamt.demote(PFN, pair, () -> 0))
        .withMessage("pfn 0x4b04d does not start a 2 MiB range");
    free(pair);
  }

  @Test
  void demote_withoutAPair_isTheCallersMistake() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> dpamt.demote(OTHER_PFN, null, () -> 0))
        .withMessageContaining("needs a page pair");
  }

  @Test
  void demote_seamcallThrows_letsTheLockGo() {
    PagePair pair = newPair();
    assertThatIllegalStateException()
        .isThrownBy(
            () ->
                dpamt.demote(
                    OTHER_PFN,
                    pair,
                    () -> {
                      throw new IllegalStateException("no module");
                    }))
        .withMessage("no module");
    free(pair);

    assertThat(dpamt.get(PFN)).isEqualTo(Errno.OK);
  }

  @Test
  void refcount_lastRangeOfAHostThatIsNoWholeNumberOfGiB_isCounted() {
    long last = (HOST_RANGES - 1) * RANGE;

    assertThat(dpamt.get(last + 511)).isEqualTo(Errno.OK);

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(last, 1L));
  }

  @ParameterizedTest
  @ValueSource(longs = {PageAllocator.NO_PAGE, HOST_RANGES * RANGE})
  void getPutAndRefcount_outsideHostMemory_areTheCallersMistake(long pfn) {
    String message = "pfn 0x%x is not host memory".formatted(pfn);
    assertThatIllegalArgumentException().isThrownBy(() -> dpamt.get(pfn)).withMessage(message);
    assertThatIllegalArgumentException().isThrownBy(() -> dpamt.put(pfn)).withMessage(message);
    assertThatIllegalArgumentException().isThrownBy(() -> dpamt.refcount(pfn)).withMessage(message);
  }

  @Test
  void pairsPeak_pairsComeAndGo_staysAtTheMost() {
    dpamt.get(PFN);
    dpamt.get(OTHER_PFN);
    dpamt.put(PFN);
    dpamt.put(OTHER_PFN);
    dpamt.get(PFN);

    assertThat(dpamt.pairsPeak()).isEqualTo(2);
    assertThat(dpamt.pairsInstalled()).isEqualTo(1);
  }

  @Test
  void entryPages_isAPairWhenEnabledAndNothingWhenDisabled() {
    assertThat(dpamt.isEnabled()).isTrue();
    assertThat(dpamt.entryPages()).isEqualTo(2);
    assertThat(Dpamt.disabled(kernel, pages).isEnabled()).isFalse();
    assertThat(Dpamt.disabled(kernel, pages).entryPages()).isZero();
  }

  @Test
  void disabled_getsPutsAndDemotes_touchNeitherPagesNorCounts() {
    Dpamt disabled = Dpamt.disabled(kernel, pages);
    State before = state();

    assertThat(disabled.get(PFN)).isEqualTo(Errno.OK);
    assertThat(disabled.get(PFN, cacheOf(0))).isEqualTo(Errno.OK);
    disabled.put(PFN);
    disabled.put(OTHER_PFN);
    assertThat(disabled.demote(OTHER_PFN, null, () -> BUSY)).isEqualTo(BUSY);
    assertThat(disabled.demote(OTHER_PFN, null, () -> 0)).isZero();

    assertThat(state().census()).isEqualTo(before.census());
    assertThat(disabled.refcounts()).isEmpty();
    assertThat(disabled.counters().toMap().values()).containsOnly(0L);
  }
}
