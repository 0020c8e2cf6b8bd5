package dev.septum.lab.pamt;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PamtSizeTest {

  private static final long GIB = 1L << 30;

  /** Sizes that were published for Dynamic PAMT of one TDMR. */
  @ParameterizedTest
  @CsvSource({"64, 2564", "256, 10244", "1024, 40976"})
  void dynamicStatic_isABitForEachPageAndTheEntriesAbove(long gib, long kib) {
    assertThat(PamtSize.dynamicStatic(gib * GIB)).isEqualTo(kib);
  }

  /** 1034220 KB and 10092 KB are what kernels printed without and with Dynamic PAMT. */
  @Test
  void threeTdmrsOf252Gib_haveTheSizesOfBothModesThatWerePublished() {
    long[] gibs = {2, 125, 125};
    long all = 0;
    long dynamic = 0;
    for (long gib : gibs) {
      all += PamtSize.all(gib * GIB);
      dynamic += PamtSize.dynamicStatic(gib * GIB);
    }
    assertThat(all).isEqualTo(1034220);
    assertThat(dynamic).isEqualTo(10092);
  }

  @ParameterizedTest
  @CsvSource({
    "1, 4096, 8, 4, 32",
    "2, 8192, 16, 4, 64",
    "256, 1048576, 2048, 4, 8192",
    "257, 1052672, 2056, 8, 8224"
  })
  void entries_areSixteenBytesAndEachLevelIsRoundedToPages(
      long gib, long kib4k, long kib2m, long kib1g, long bitmapKib) {
    assertThat(PamtSize.entries(gib * GIB, 0)).isEqualTo(kib4k);
    assertThat(PamtSize.entries(gib * GIB, 1)).isEqualTo(kib2m);
    assertThat(PamtSize.entries(gib * GIB, 2)).isEqualTo(kib1g);
    assertThat(PamtSize.bitmap(gib * GIB)).isEqualTo(bitmapKib);
  }

  @ParameterizedTest
  @CsvSource({"1034220, 252", "4071192, 992", "1050644, 256", "8405028, 2048", "262668, 64"})
  void gibOf_findsTheMemoryBehindAPublishedSize(long kib, long gib) {
    assertThat(PamtSize.gibOf(kib)).isEqualTo(gib);
  }
}
