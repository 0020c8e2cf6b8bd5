package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.Errno;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The module's removal hint is read and counted; the refcount decides. */
class RemovalHintTest extends DpamtFixture {

  @Test
  void wordOfPageRemove_isTheAddressWithTheHintInBit62() {
    assertThat(ReleasedPage.of(0x4b04d000L)).isEqualTo(new ReleasedPage(0x4b04d, false));
    assertThat(ReleasedPage.of(1L << 62 | 0x4b04d000L)).isEqualTo(new ReleasedPage(0x4b04d, true));
    assertThat(ReleasedPage.of(0x000F_FFFF_FFFF_F000L))
        .isEqualTo(new ReleasedPage(0xFF_FFFF_FFFFL, false));
  }

  @Test
  void wordOfReclaim_isTheHintAlone() {
    assertThat(ReleasedPage.reclaimed(7, 0)).isEqualTo(new ReleasedPage(7, false));
    assertThat(ReleasedPage.reclaimed(7, 1L << 62)).isEqualTo(new ReleasedPage(7, true));
  }

  @Test
  void put_ofTheLastPage_removesThePairAndCountsTheHint() {
    dpamt.get(PFN);

    dpamt.put(new ReleasedPage(PFN, true));

    assertThat(dpamt.refcounts()).isEmpty();
    assertThat(count(PamtCounter.REMOVAL_HINTS)).isEqualTo(1);
    assertThat(count(PamtCounter.PAIRS_REMOVED)).isEqualTo(1);
  }

  /** Two pages released one after the other, put in the other order. */
  @Test
  void hintGoesToOnePutAndTheLastReferenceToAnother_thePairGoesWithTheLast() {
    dpamt.get(PFN);
    dpamt.get(PFN + 1);
    ReleasedPage releasedFirst = new ReleasedPage(PFN, false);
    ReleasedPage releasedLast = new ReleasedPage(PFN + 1, true);

    dpamt.put(releasedLast);
    assertThat(module.pairs()).containsOnlyKeys(600 * RANGE);
    dpamt.put(releasedFirst);

    assertThat(module.pairs()).isEmpty();
    assertThat(count(PamtCounter.PAIRS_REMOVED)).isEqualTo(1);
  }

  /** Obeyed, the hint would take the pair from under the page that is about to be mapped. */
  @Test
  void hintWhileAnotherPageIsGotButNotYetMapped_leavesThePair() {
    dpamt.get(PFN);
    assertThat(dpamt.get(PFN + 1)).isEqualTo(Errno.OK);

    dpamt.put(new ReleasedPage(PFN, true));

    assertThat(dpamt.refcounts()).isEqualTo(Map.of(600 * RANGE, 1L));
    assertThat(module.pairs()).containsOnlyKeys(600 * RANGE);
    assertThat(count(PamtCounter.REMOVAL_HINTS)).isEqualTo(1);
  }
}
