package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Two threads at each place where their steps can interleave, stopped exactly there. */
class DpamtRaceTest extends DpamtFixture {

  private static final long PFN_RANGE = 600 * RANGE;

  @Test
  void twoGetsOfAnEmptyRange_oneAddsAndTheOtherCountsAndFreesItsPair() {
    Gate add = module.stopNextAdd();
    KernelThread a = spawnGet(PFN);
    add.awaitArrival();
    KernelThread b = spawnGet(PFN);
    awaitCount(PamtCounter.SLOW_GETS, 2);

    add.open();
    a.join();
    b.join();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 2L));
    assertThat(module.log()).containsExactly("add 600", "add 600 done");
    assertThat(pages.census())
        .containsEntry(PageOwner.PAMT_PAGE, 2L)
        .containsEntry(PageOwner.PAMT_CACHE, 0L);
    assertThat(counted()).isEqualTo(Map.of("slow_gets", 2L, "lost_races", 1L, "pairs_added", 1L));
  }

  @Test
  void twoGetsOfAnEmptyRange_theLoserPutsItsPairBackOnTopOfItsCache() {
    PamtCache cacheA = cacheOf(2);
    PamtCache cacheB = cacheOf(4);
    PagePair topOfB = peek(cacheB);
    Gate add = module.stopNextAdd();
    KernelThread a = spawnGet(PFN, cacheA);
    add.awaitArrival();
    KernelThread b = spawnGet(PFN, cacheB);
    awaitCount(PamtCounter.SLOW_GETS, 2);

    add.open();
    a.join();
    b.join();

    assertThat(dpamt.refcount(PFN)).isEqualTo(2);
    assertThat(cacheA.count()).isZero();
    assertThat(cacheB.count()).isEqualTo(4);
    assertThat(peek(cacheB)).isEqualTo(topOfB);
  }

  @Test
  void twoGetsOfAnEmptyRange_theFirstAddFails_theSecondAddsItsOwnPair() {
    PamtCache cacheA = cacheOf(2);
    PamtCache cacheB = cacheOf(2);
    PagePair pairOfB = peek(cacheB);
    Gate add = module.stopNextAdd();
    module.failNextAdd(PamtAddStatus.BUSY);
    KernelThread a =
        kernel.spawn("get", () -> assertThat(dpamt.get(PFN, cacheA)).isEqualTo(Errno.EIO));
    add.awaitArrival();
    KernelThread b = spawnGet(PFN, cacheB);
    awaitCount(PamtCounter.SLOW_GETS, 2);

    add.open();
    a.join();
    b.join();

    assertThat(module.pairs()).isEqualTo(Map.of(PFN_RANGE, pairOfB));
    assertThat(dpamt.refcount(PFN)).isEqualTo(1);
    assertThat(cacheA.count()).isEqualTo(2);
    assertThat(cacheB.count()).isZero();
  }

  @Test
  void getWhileTheLastPutRemoves_waitsAndThenAddsNormally() {
    dpamt.get(PFN);
    PamtCache cache = cacheOf(2);
    Gate remove = module.stopNextRemove();
    KernelThread put = spawnPut(PFN);
    remove.awaitArrival();
    assertThat(dpamt.refcount(PFN)).isZero();
    KernelThread get = spawnGet(PFN, cache);
    awaitCount(PamtCounter.SLOW_GETS, 2);

    remove.open();
    put.join();
    get.join();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThat(module.log())
        .containsExactly(
            "add 600", "add 600 done", "remove 600", "remove 600 done", "add 600", "add 600 done");
    assertThat(cache.count()).isZero();
    assertThat(count(PamtCounter.ADD_FAILURES)).isZero();
  }

  @Test
  void getWhileTheLastPutFailsToRemove_waitsAndThenUsesThePairThatStayed() {
    dpamt.get(PFN);
    PamtCache cache = cacheOf(2);
    module.failRemovesIf(() -> true);
    Gate remove = module.stopNextRemove();
    KernelThread put = spawnPut(PFN);
    remove.awaitArrival();
    KernelThread get = spawnGet(PFN, cache);
    awaitCount(PamtCounter.SLOW_GETS, 2);

    remove.open();
    put.join();
    get.join();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 2L));
    assertThat(cache.count()).isEqualTo(2);
    assertThat(count(PamtCounter.LOST_RACES)).isEqualTo(1);
    assertThat(count(PamtCounter.REMOVE_FAILURES)).isEqualTo(1);
  }

  @Test
  void getBetweenAPutsLookAndItsLock_savesThePair() {
    dpamt.get(PFN);
    Gate elsewhere = module.stopNextAdd();
    KernelThread holder = spawnGet(OTHER_PFN);
    elsewhere.awaitArrival();
    KernelThread put = spawnPut(PFN);
    awaitCount(PamtCounter.SLOW_PUTS, 1);

    assertThat(dpamt.get(PFN, cacheOf(0))).isEqualTo(Errno.OK);
    elsewhere.open();
    holder.join();
    put.join();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L, OTHER_PFN, 1L));
    assertThat(module.log()).containsExactly("add 600", "add 600 done", "add 601", "add 601 done");
  }

  @Test
  void twoLastPuts_oneCountsAndTheOtherRemoves() {
    dpamt.get(PFN);
    Gate elsewhere = module.stopNextAdd();
    KernelThread holder = spawnGet(OTHER_PFN);
    elsewhere.awaitArrival();
    KernelThread putA = spawnPut(PFN);
    awaitCount(PamtCounter.SLOW_PUTS, 1);
    dpamt.get(PFN, cacheOf(0));
    dpamt.put(PFN);
    KernelThread putB = spawnPut(PFN);
    awaitCount(PamtCounter.SLOW_PUTS, 2);
    dpamt.get(PFN, cacheOf(0));

    elsewhere.open();
    holder.join();
    putA.join();
    putB.join();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(OTHER_PFN, 1L));
    assertThat(module.log())
        .containsExactly(
            "add 600", "add 600 done", "add 601", "add 601 done", "remove 600", "remove 600 done");
  }

  @Test
  void addAndRemove_ofAnyRanges_neverMeetInTheModule() {
    dpamt.get(PFN);
    Gate add = module.stopNextAdd();
    KernelThread get = spawnGet(OTHER_PFN);
    add.awaitArrival();
    KernelThread put = spawnPut(PFN);
    awaitCount(PamtCounter.SLOW_PUTS, 1);
    assertThat(module.log()).endsWith("add 601");

    add.open();
    get.join();
    put.join();

    assertThat(module.log())
        .containsExactly(
            "add 600", "add 600 done", "add 601", "add 601 done", "remove 600", "remove 600 done");
    assertThat(dpamt.refcounts()).isEqualTo(Map.of(OTHER_PFN, 1L));
  }

  @Test
  void demote_whileAnotherTdAddsAPair_neverMeetsItInTheModule() {
    PagePair pair = newPair();
    Gate inDemote = new Gate();
    KernelThread demote = spawnDemote(OTHER_PFN, pair, inDemote, true);
    inDemote.awaitArrival();
    // The range of the very pages that DEMOTE was given: the module would answer one of them busy.
    long neighbour = pair.first();
    KernelThread get = spawnGet(neighbour);
    awaitCount(PamtCounter.SLOW_GETS, 1);
    assertThat(module.log()).containsExactly("demote 601");

    inDemote.open();
    demote.join();
    get.join();

    assertThat(module.log())
        .containsExactly("demote 601", "demote 601 done", "add 0", "add 0 done");
    assertThat(dpamt.refcounts()).isEqualTo(Map.of(0L, 1L, OTHER_PFN, 512L));
  }

  @Test
  void getInTheGuestRangeWhileDemoteRuns_findsThePairThatDemoteBrought() {
    PamtCache cache = cacheOf(2);
    PagePair pair = newPair();
    Gate inDemote = new Gate();
    KernelThread demote = spawnDemote(OTHER_PFN, pair, inDemote, true);
    inDemote.awaitArrival();
    KernelThread get = spawnGet(OTHER_PFN + 5, cache);
    awaitCount(PamtCounter.SLOW_GETS, 1);

    inDemote.open();
    demote.join();
    get.join();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(OTHER_PFN, 513L));
    assertThat(module.pairs()).isEqualTo(Map.of(OTHER_PFN, pair));
    assertThat(cache.count()).isEqualTo(2);
    assertThat(count(PamtCounter.LOST_RACES)).isEqualTo(1);
  }

  @Test
  void getInTheGuestRangeWhileDemoteFails_addsNormally() {
    PamtCache cache = cacheOf(2);
    PagePair pair = newPair();
    Gate inDemote = new Gate();
    KernelThread demote = spawnDemote(OTHER_PFN, pair, inDemote, false);
    inDemote.awaitArrival();
    KernelThread get = spawnGet(OTHER_PFN + 5, cache);
    awaitCount(PamtCounter.SLOW_GETS, 1);

    inDemote.open();
    demote.join();
    get.join();

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(OTHER_PFN, 1L));
    assertThat(cache.count()).isZero();
    free(pair);
  }

  @Test
  void putsAfterDemote_fromTwoThreads_removeThePairOnce() {
    PagePair pair = newPair();
    dpamt.demote(OTHER_PFN, pair, () -> module.demote(OTHER_PFN, pair));
    State before = state();

    List<KernelThread> threads =
        List.of(spawnPuts(OTHER_PFN, 0, 256), spawnPuts(OTHER_PFN, 256, 512));
    threads.forEach(KernelThread::join);

    assertThat(dpamt.refcounts()).isEmpty();
    assertThat(count(PamtCounter.PAIRS_REMOVED)).isEqualTo(1);
    assertThat(pages.census().get(PageOwner.FREE))
        .isEqualTo(before.census().getOrDefault(PageOwner.FREE, 0L) + 2);
  }

  private KernelThread spawnGet(long pfn) {
    return kernel.spawn("get", () -> assertThat(dpamt.get(pfn)).isEqualTo(Errno.OK));
  }

  private KernelThread spawnGet(long pfn, PamtCache cache) {
    return kernel.spawn("get", () -> assertThat(dpamt.get(pfn, cache)).isEqualTo(Errno.OK));
  }

  private KernelThread spawnPut(long pfn) {
    return kernel.spawn("put", () -> dpamt.put(pfn));
  }

  private KernelThread spawnPuts(long pfn, int from, int to) {
    return kernel.spawn(
        "puts",
        () -> {
          for (int i = from; i < to; i++) {
            dpamt.put(pfn + i);
          }
        });
  }

  /** A DEMOTE that stops in the module, and then succeeds or is refused. */
  private KernelThread spawnDemote(long pfn, PagePair pair, Gate gate, boolean succeeds) {
    return kernel.spawn(
        "demote",
        () ->
            dpamt.demote(
                pfn,
                pair,
                () -> {
                  module.enter("demote", pfn);
                  gate.pass();
                  if (succeeds) {
                    module.pairs().put(pfn, pair);
                  }
                  module.exit("demote", pfn);
                  return succeeds ? 0 : 1;
                }));
  }
}
