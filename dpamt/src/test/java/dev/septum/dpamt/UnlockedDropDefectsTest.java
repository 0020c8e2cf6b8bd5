package dev.septum.dpamt;

import static dev.septum.dpamt.DpamtRig.OTHER_RANGE;
import static dev.septum.dpamt.DpamtRig.PFN;
import static dev.septum.dpamt.DpamtRig.PFN_RANGE;
import static dev.septum.dpamt.DpamtRig.pamtPages;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kvm.Errno;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/**
 * What goes wrong in the shape as posted, each beside the same steps in the shape that is right.
 */
class UnlockedDropDefectsTest {

  private final DpamtRig v4 = new DpamtRig(DpamtShape.V4);
  private final DpamtRig v6 = new DpamtRig(DpamtShape.V6);

  @BeforeEach
  void forgetLogLines() {
    RecordingLog.LINES.clear();
  }

  @ParameterizedTest
  @EnumSource(
      names = {"ADDED", "RANGE_NOT_FREE"},
      mode = Mode.EXCLUDE)
  void addRefused_v4_getSucceedsWithNothingInstalled(PamtAddStatus status) {
    PamtCache cache = v4.cacheOf(2);
    v4.module.failNextAdd(status);

    assertThat(v4.dpamt.get(PFN, cache)).isEqualTo(Errno.OK);

    assertThat(v4.dpamt.refcounts()).isEmpty();
    assertThat(v4.module.pairs()).isEmpty();
    assertThat(v4.pamtPages()).isEqualTo(pamtPages(0, 0));
    assertThat(v4.counted()).isEqualTo(Map.of("slow_gets", 1L, "add_failures", 1L));
    assertThat(RecordingLog.LINES).containsExactly("WARN PAMT.ADD of pfn 0x4b000: " + status);
  }

  @Test
  void addRefused_v4_thePutUnderflowsAndTheNextGetBelievesInAPair() {
    v4.module.failNextAdd(PamtAddStatus.FAILED);
    v4.dpamt.get(PFN);

    v4.dpamt.put(PFN);
    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, -1L));
    assertThatThrownBy(v4::check)
        .hasMessageContaining("ranges with a refcount are those with a pair");

    // -1 is not 0: the fast path. No cache is asked, and nothing is installed.
    assertThat(v4.dpamt.get(PFN, v4.cacheOf(0))).isEqualTo(Errno.OK);
    assertThat(v4.dpamt.refcounts()).isEmpty();
    assertThat(v4.module.pairs()).isEmpty();
    assertThat(v4.module.log()).containsExactly("add 600", "add 600 done");
  }

  @Test
  void addRefused_v6_getFailsAndAPutOfItIsTheCallersMistake() {
    v6.module.failNextAdd(PamtAddStatus.FAILED);
    assertThat(v6.dpamt.get(PFN)).isEqualTo(Errno.EIO);

    assertThatIllegalStateException()
        .isThrownBy(() -> v6.dpamt.put(PFN))
        .withMessage("put of pfn 0x4b04d, which nobody got");
    assertThat(v6.dpamt.refcounts()).isEmpty();
    v6.check();
  }

  @Test
  void addFindsThePairOfNoPut_v4_getSucceedsAndV6Refuses() {
    v4.module.failNextAdd(PamtAddStatus.RANGE_NOT_FREE);
    v6.module.failNextAdd(PamtAddStatus.RANGE_NOT_FREE);

    assertThat(v4.dpamt.get(PFN)).isEqualTo(Errno.OK);
    assertThat(v6.dpamt.get(PFN)).isEqualTo(Errno.EIO);

    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThatThrownBy(v4::check)
        .hasMessageContaining("ranges with a refcount are those with a pair");
    assertThat(v6.dpamt.refcounts()).isEmpty();
    v6.check();
  }

  /** Put A drops to 0; a get meets the pair and counts 1; put B drops to 0 and removes. */
  private static void putAgainstGetAndPut(DpamtRig rig) {
    rig.dpamt.get(PFN);
    rig.hooks.beforeNextLock(
        () -> {
          assertThat(rig.dpamt.get(PFN)).isEqualTo(Errno.OK);
          rig.dpamt.put(PFN);
        });
    rig.dpamt.put(PFN);
  }

  @Test
  void twoPutsReachZero_v4_theSecondRemoveFailsAndLeavesACountWithoutAPair() {
    putAgainstGetAndPut(v4);

    assertThat(v4.module.log())
        .containsExactly(
            "add 600",
            "add 600 done",
            "add 600",
            "add 600 done",
            "remove 600",
            "remove 600 done",
            "remove 600",
            "remove 600 done");
    assertThat(v4.module.pairs()).isEmpty();
    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThat(v4.dpamt.stuckRanges()).isEqualTo(Set.of(PFN_RANGE));
    assertThat(v4.pamtPages()).isEqualTo(pamtPages(0, 0));
    assertThatThrownBy(v4::check)
        .hasMessageContaining("ranges with a refcount are those with a pair");
    // From now on every get in the range counts and installs nothing.
    assertThat(v4.dpamt.get(PFN, v4.cacheOf(0))).isEqualTo(Errno.OK);
    assertThat(v4.module.pairs()).isEmpty();
  }

  @Test
  void twoPutsReachZero_v6_onlyTheOneThatHoldsTheLockRemoves() {
    putAgainstGetAndPut(v6);

    assertThat(v6.module.log())
        .containsExactly("add 600", "add 600 done", "remove 600", "remove 600 done");
    assertThat(v6.dpamt.refcounts()).isEmpty();
    assertThat(v6.dpamt.stuckRanges()).isEmpty();
    v6.check();
  }

  @Test
  void demoteMeetsAnAddOfAnotherTd_v4_theOtherTdGoesOnWithoutAPair() {
    PagePair pair = v4.newPair();
    long neighbour = pair.first();

    long status =
        v4.dpamt.demote(
            OTHER_RANGE,
            pair,
            () ->
                v4.module.demoteUnlocked(
                    OTHER_RANGE,
                    pair,
                    () -> assertThat(v4.dpamt.get(neighbour)).isEqualTo(Errno.OK)));

    assertThat(status).isZero();
    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(OTHER_RANGE, 512L));
    assertThat(v4.module.pairs()).isEqualTo(Map.of(OTHER_RANGE, pair));
    assertThat(RecordingLog.LINES).containsExactly("WARN PAMT.ADD of pfn 0x0: BUSY");
    v4.check();
  }

  @Test
  void demoteOfACountedRange_v4_warnsAndLosesTheCountOf512() {
    v4.dpamt.get(OTHER_RANGE + 3);
    v4.module.pairs().clear();
    PagePair pair = v4.newPair();

    v4.dpamt.demote(OTHER_RANGE, pair, () -> v4.module.demoteUnlocked(OTHER_RANGE, pair, () -> {}));
    v4.dpamt.demote(OTHER_RANGE, v4.newPair(), () -> 0);

    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(OTHER_RANGE, 1L));
    assertThat(RecordingLog.LINES)
        .containsExactly("WARN DEMOTE of pfn 0x4b200: its range was counted already");
  }

  @Test
  void demoteFails_v4_changesNothing() {
    PagePair pair = v4.newPair();

    assertThat(v4.dpamt.demote(OTHER_RANGE, pair, () -> 7)).isEqualTo(7);

    assertThat(v4.dpamt.refcounts()).isEmpty();
    assertThat(v4.counted()).isEmpty();
    assertThat(v4.pamtPages()).isEqualTo(pamtPages(0, 2));
  }

  @Test
  void cacheWithOnePage_v4_losesItToTheAllocatorAndV6KeepsIt() {
    PamtCache cacheOfV4 = v4.cacheOf(1);
    PamtCache cacheOfV6 = v6.cacheOf(1);

    assertThat(v4.dpamt.get(PFN, cacheOfV4)).isEqualTo(Errno.ENOMEM);
    assertThat(v6.dpamt.get(PFN, cacheOfV6)).isEqualTo(Errno.ENOMEM);

    assertThat(cacheOfV4.count()).isZero();
    assertThat(cacheOfV6.count()).isEqualTo(1);
    v4.check();
    v6.check();
  }

  @Test
  void cacheWithNoPage_v4_isEnomem() {
    assertThat(v4.dpamt.get(PFN, v4.cacheOf(0))).isEqualTo(Errno.ENOMEM);
    assertThat(v4.counted()).isEqualTo(Map.of("slow_gets", 1L, "pair_shortages", 1L));
    v4.check();
  }

  @Test
  void putIntoACache_v4_freesThePairAndV6GivesItBack() {
    PamtCache cacheOfV4 = v4.cacheOf(2);
    PamtCache cacheOfV6 = v6.cacheOf(2);
    v4.dpamt.get(PFN, cacheOfV4);
    v6.dpamt.get(PFN, cacheOfV6);

    v4.dpamt.put(PFN, cacheOfV4);
    v6.dpamt.put(PFN, cacheOfV6);

    assertThat(cacheOfV4.count()).isZero();
    assertThat(cacheOfV6.count()).isEqualTo(2);
    v4.check();
    v6.check();
  }

  @Test
  void putsThatAreNotTheLast_v4_takeNoLock() {
    v4.dpamt.get(PFN);
    v4.dpamt.get(PFN);
    v4.hooks.beforeNextLock(
        () -> {
          throw new AssertionError("a put that leaves a user behind took the lock");
        });

    v4.dpamt.put(PFN);

    assertThat(v4.dpamt.refcounts()).isEqualTo(Map.of(PFN_RANGE, 1L));
    assertThat(v4.counted())
        .isEqualTo(Map.of("slow_gets", 1L, "fast_gets", 1L, "pairs_added", 1L, "fast_puts", 1L));
  }
}
