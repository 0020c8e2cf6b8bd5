package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.AdditionalAnswers.answer;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.when;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class PamtRefcountsTest {

  private static final long GIB = 512 * 512;

  private final List<EntryTable> tables = new ArrayList<>();
  private final Kernel kernel = mock(Kernel.class);

  @BeforeEach
  void recordTables() {
    when(kernel.entryTable(anyLong(), anyLong()))
        .then(
            answer(
                (Long base, Long stride) -> {
                  EntryTable table = Kernel.host().entryTable(base, stride);
                  tables.add(table);
                  return table;
                }));
  }

  @Test
  void constructor_hostOfAGibAndOnePage_roundsUpToTwoTables() {
    PamtRefcounts refcounts = new PamtRefcounts(kernel, GIB + 512);

    refcounts.set(GIB + 511, 3);

    assertThat(tables).hasSize(2);
    assertThat(refcounts.nonZero()).isEqualTo(Map.of(GIB, 3L));
  }

  @Test
  void looksAndFailedSteps_useNoMemory() {
    PamtRefcounts refcounts = new PamtRefcounts(kernel, 3 * GIB);

    assertThat(refcounts.incrementUnlessZero(GIB)).isFalse();
    assertThat(refcounts.decrementUnlessLast(GIB)).isFalse();
    assertThat(refcounts.decrementUnlessZero(GIB)).isZero();
    assertThat(refcounts.get(GIB)).isZero();
    assertThat(refcounts.nonZero()).isEmpty();

    assertThat(tables).hasSize(3).allMatch(EntryTable::isUniform);
  }

  @Test
  void set_usesTheMemoryOfItsGibOnly() {
    PamtRefcounts refcounts = new PamtRefcounts(kernel, 3 * GIB);

    refcounts.set(GIB, 1);

    assertThat(tables.stream().map(EntryTable::isUniform)).containsExactly(true, false, true);
  }

  @Test
  void steps_stopAtTheirFloors() {
    PamtRefcounts refcounts = new PamtRefcounts(kernel, GIB);
    refcounts.set(512, 1);

    assertThat(refcounts.incrementUnlessZero(512 + 511)).isTrue();
    assertThat(refcounts.decrementUnlessLast(512)).isTrue();
    assertThat(refcounts.decrementUnlessLast(512)).isFalse();
    assertThat(refcounts.get(512)).isEqualTo(1);
    assertThat(refcounts.decrementUnlessZero(512)).isEqualTo(1);
    assertThat(refcounts.decrementUnlessZero(512)).isZero();
    assertThat(refcounts.nonZero()).isEmpty();
  }

  @Test
  void neighbouringRanges_haveCountersOfTheirOwn() {
    PamtRefcounts refcounts = new PamtRefcounts(kernel, 2 * GIB);
    refcounts.set(0, 1);
    refcounts.set(512, 2);
    refcounts.set(GIB - 1, 3);
    refcounts.set(GIB, 4);

    assertThat(refcounts.nonZero()).isEqualTo(Map.of(0L, 1L, 512L, 2L, GIB - 512, 3L, GIB, 4L));
  }
}
