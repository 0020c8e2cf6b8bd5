package dev.septum.dpamt;

import static dev.septum.dpamt.DpamtRig.OTHER_RANGE;
import static dev.septum.dpamt.DpamtRig.PFN;
import static dev.septum.dpamt.DpamtRig.PFN_RANGE;
import static dev.septum.dpamt.DpamtRig.pamtPages;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kvm.Errno;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The rows of the race table, each in both shapes: what both may do, and how they differ. */
class RaceTableTest {

  private final DpamtRig v4 = new DpamtRig(DpamtShape.V4);
  private final DpamtRig v6 = new DpamtRig(DpamtShape.V6);

  @Test
  void getAgainstGet_v4_theLoserCountsAndItsPairIsLostToItsCache() {
    PamtCache cache = meetGet(v4);

    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 2L));
    assertThat(v4.module.log()).containsExactly("add 600", "add 600 done");
    assertThat(cache.count()).isZero();
    assertThat(v4.pamtPages()).isEqualTo(pamtPages(2, 0));
    assertThat(v4.counted())
        .isEqualTo(Map.of("slow_gets", 2L, "lost_races", 1L, "pairs_added", 1L));
    v4.check();
  }

  @Test
  void getAgainstGet_v6_theLoserCountsAndItsCacheHasThePairAgain() {
    PamtCache cache = meetGet(v6);

    assertThat(v6.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 2L));
    assertThat(v6.module.log()).containsExactly("add 600", "add 600 done");
    assertThat(cache.count()).isEqualTo(2);
    assertThat(v6.pamtPages()).isEqualTo(pamtPages(2, 2));
    v6.check();
  }

  /** A get that finds the range empty, and another that is through before it has the lock. */
  private static PamtCache meetGet(DpamtRig rig) {
    PamtCache cache = rig.cacheOf(2);
    rig.hooks.beforeNextLock(() -> assertThat(rig.dpamt.get(PFN)).isEqualTo(Errno.OK));
    assertThat(rig.dpamt.get(PFN, cache)).isEqualTo(Errno.OK);
    return cache;
  }

  @Test
  void putThenGetBeforeRemove_v4_theGetMeetsThePairInTheModuleAndThePutLeavesIt() {
    PamtCache cache = getBetweenDropAndRemove(v4);

    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThat(v4.module.log())
        .containsExactly("add 600", "add 600 done", "add 600", "add 600 done");
    assertThat(cache.count()).isZero();
    assertThat(v4.pamtPages()).isEqualTo(pamtPages(2, 0));
    assertThat(v4.counted())
        .isEqualTo(
            Map.of("slow_gets", 2L, "pairs_added", 1L, "slow_puts", 1L, "pairs_rescued", 1L));
    v4.check();
  }

  @Test
  void putThenGetBeforeRemove_v6_theGetCountsFirstAndThePutOnlyCounts() {
    PamtCache cache = getBetweenDropAndRemove(v6);

    assertThat(v6.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThat(v6.module.log()).containsExactly("add 600", "add 600 done");
    assertThat(cache.count()).isEqualTo(2);
    assertThat(v6.counted())
        .isEqualTo(Map.of("slow_gets", 1L, "pairs_added", 1L, "fast_gets", 1L, "slow_puts", 1L));
    v6.check();
  }

  private static PamtCache getBetweenDropAndRemove(DpamtRig rig) {
    PamtCache cache = rig.cacheOf(2);
    rig.dpamt.get(PFN);
    rig.hooks.beforeNextLock(() -> assertThat(rig.dpamt.get(PFN, cache)).isEqualTo(Errno.OK));
    rig.dpamt.put(PFN);
    return cache;
  }

  @ParameterizedTest
  @EnumSource
  void putAndRemoveDoneThenGet_addsNormally(DpamtShape shape) {
    DpamtRig rig = new DpamtRig(shape);
    rig.dpamt.get(PFN);
    rig.dpamt.put(PFN);
    assertThat(rig.dpamt.refcounts()).isEmpty();

    assertThat(rig.dpamt.get(PFN)).isEqualTo(Errno.OK);

    assertThat(rig.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThat(rig.counted())
        .isEqualTo(
            Map.of("slow_gets", 2L, "pairs_added", 2L, "slow_puts", 1L, "pairs_removed", 1L));
    rig.check();
  }

  @ParameterizedTest
  @EnumSource
  void putFailsInRemove_leavesACountThatNobodyOwnsForEver(DpamtShape shape) {
    DpamtRig rig = new DpamtRig(shape);
    rig.dpamt.get(PFN);
    rig.module.failRemovesIf(() -> true);
    rig.dpamt.put(PFN);
    rig.module.failRemovesIf(() -> false);

    for (int i = 0; i < 3; i++) {
      assertThat(rig.dpamt.get(PFN, rig.cacheOf(0))).isEqualTo(Errno.OK);
      rig.dpamt.put(PFN);
    }

    assertThat(rig.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThat(rig.dpamt.stuckRanges()).isEqualTo(Set.of(PFN_RANGE));
    assertThat(rig.counted())
        .isEqualTo(
            Map.of(
                "slow_gets", 1L,
                "pairs_added", 1L,
                "slow_puts", 1L,
                "remove_failures", 1L,
                "fast_gets", 3L,
                "fast_puts", 3L));
    assertThat(rig.module.pairs()).containsOnlyKeys(PFN_RANGE);
    assertThat(rig.pamtPages()).isEqualTo(pamtPages(2, 0));
    rig.check();
  }

  @ParameterizedTest
  @EnumSource
  void addAndRemoveAtOnce_doNotMeetInTheModule(DpamtShape shape) {
    DpamtRig rig = new DpamtRig(shape);
    rig.dpamt.get(PFN);
    Gate add = rig.module.stopNextAdd();
    KernelThread get = rig.hooks.spawn("get", () -> rig.dpamt.get(OTHER_RANGE));
    add.awaitArrival();
    KernelThread put = rig.hooks.spawn("put", () -> rig.dpamt.put(PFN));
    Gate.awaitUntil(
        () -> rig.dpamt.counters().get(PamtCounter.SLOW_PUTS) == 1, "the put to want the lock");

    add.open();
    get.join();
    put.join();

    // The fake refuses a second caller; each call is out before the next is in.
    assertThat(rig.module.log())
        .containsExactly(
            "add 600", "add 600 done", "add 601", "add 601 done", "remove 600", "remove 600 done");
    assertThat(rig.dpamt.refcounts()).isEqualTo(Map.of(OTHER_RANGE, 1L));
    rig.check();
  }
}
