package dev.septum.lab.pamt;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.LogLine;
import dev.septum.lab.bootlog.MemRange;
import org.junit.jupiter.api.Test;

/** TDMRs of given memory blocks. */
class TdmrLayoutTest {

  private static final long G = 1L << 30;
  private static final long M = 1L << 20;

  private static TdmrLayout layout(long... ends) {
    ImmutableList.Builder<MemRange> blocks = ImmutableList.builder();
    for (int i = 0; i < ends.length; i += 2) {
      blocks.add(new MemRange(ends[i], ends[i + 1], LogLine.NONE));
    }
    return TdmrLayout.of(new MemoryBlocks("test", blocks.build()));
  }

  @Test
  void block_isWidenedToWholeGib() {
    assertThat(layout(M, G + M).tdmrs()).containsExactly(new Tdmr(0, 2 * G));
    assertThat(layout(5 * G, 6 * G).tdmrs()).containsExactly(new Tdmr(5 * G, 6 * G));
  }

  @Test
  void blockInsideAnEarlierTdmr_makesNone() {
    assertThat(layout(M, 100 * M, 200 * M, G).tdmrs()).containsExactly(new Tdmr(0, G));
  }

  @Test
  void blockThatReachesIntoAnEarlierTdmr_isCutToWhatIsLeft() {
    assertThat(layout(M, G + M, G + 2 * M, 3 * G).tdmrs())
        .containsExactly(new Tdmr(0, 2 * G), new Tdmr(2 * G, 3 * G));
  }

  @Test
  void blocksThatTouchAtAGib_areTdmrsOfTheirOwn() {
    assertThat(layout(4 * G, 8 * G, 8 * G, 12 * G).tdmrs())
        .containsExactly(new Tdmr(4 * G, 8 * G), new Tdmr(8 * G, 12 * G));
  }

  @Test
  void holes_areWhatIsNotMemoryAtTheHeadBetweenAndAtTheEnd() {
    TdmrLayout layout = layout(M, 10 * M, 20 * M, 30 * M, 4 * G, 5 * G, 5 * G + M, 6 * G);

    assertThat(layout.tdmrs()).hasSize(3);
    assertThat(layout.holes(layout.tdmrs().get(0)))
        .containsExactly(new Tdmr(0, M), new Tdmr(10 * M, 20 * M), new Tdmr(30 * M, G));
    assertThat(layout.holes(layout.tdmrs().get(1))).isEmpty();
    assertThat(layout.holes(layout.tdmrs().get(2))).containsExactly(new Tdmr(5 * G, 5 * G + M));
  }

  @Test
  void holeBeforeABlockOfAnEarlierTdmr_isNotCountedTwice() {
    TdmrLayout layout = layout(M, G + M, G + 2 * M, 2 * G + 5 * M);

    assertThat(layout.tdmrs()).containsExactly(new Tdmr(0, 2 * G), new Tdmr(2 * G, 3 * G));
    assertThat(layout.holes(layout.tdmrs().get(0)))
        .containsExactly(new Tdmr(0, M), new Tdmr(G + M, G + 2 * M));
    assertThat(layout.holes(layout.tdmrs().get(1))).containsExactly(new Tdmr(2 * G + 5 * M, 3 * G));
  }

  @Test
  void rangesWithMemory_countsARangeThatTwoBlocksShareOnce() {
    assertThat(layout(M, 3 * M, 3 * M + 4096, 5 * M).rangesWithMemory()).isEqualTo(3);
    assertThat(layout(M, G).rangesWithMemory()).isEqualTo(512);
    assertThat(layout(M, G).ranges()).isEqualTo(512);
  }

  /** 4 bytes for each 2 MiB: 2 MiB for each TiB; a page of them is for 2 GiB. */
  @Test
  void refcounts_areCountedToTheEndOfMemoryOrForMemoryOnly() {
    TdmrLayout highUp = layout(1024 * G, 1025 * G);

    assertThat(highUp.refcountsKib()).isEqualTo(2048 + 4);
    assertThat(highUp.sparseRefcountsKib()).isEqualTo(4);
    assertThat(layout(M, 2 * G, 2 * G, 4 * G).sparseRefcountsKib()).isEqualTo(8);
    assertThat(layout(M, G, G, 2 * G).sparseRefcountsKib()).isEqualTo(4);
  }
}
