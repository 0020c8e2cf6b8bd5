package dev.septum.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GfnRangeTest {

  private static final GfnRange RANGE = new GfnRange(0x10, 0x20);

  @Test
  void pages_isTheNumberOfFrames() {
    assertThat(RANGE.pages()).isEqualTo(16);
    assertThat(GfnRange.ofPages(0x10, 16)).isEqualTo(RANGE);
    assertThat(GfnRange.ofPages(0x10, 0).isEmpty()).isTrue();
    assertThat(RANGE.isEmpty()).isFalse();
  }

  @Test
  void contains_includesTheStartAndExcludesTheEnd() {
    assertThat(RANGE.contains(0xf)).isFalse();
    assertThat(RANGE.contains(0x10)).isTrue();
    assertThat(RANGE.contains(0x1f)).isTrue();
    assertThat(RANGE.contains(0x20)).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    // start, end, overlaps, contained, intersection
    "0x00, 0x10, false, false, '[0x10, 0x10)'",
    "0x20, 0x30, false, false, '[0x10, 0x10)'",
    "0x00, 0x11, true,  false, '[0x10, 0x11)'",
    "0x1f, 0x30, true,  false, '[0x1f, 0x20)'",
    "0x00, 0x30, true,  false, '[0x10, 0x20)'",
    "0x10, 0x20, true,  true,  '[0x10, 0x20)'",
    "0x14, 0x18, true,  true,  '[0x14, 0x18)'",
    "0x14, 0x14, false, true,  '[0x10, 0x10)'",
    "0x40, 0x40, false, false, '[0x10, 0x10)'"
  })
  void otherRange_overlapsIsContainedAndIntersects(
      String start, String end, boolean overlaps, boolean contained, String intersection) {
    GfnRange other = new GfnRange(Long.decode(start), Long.decode(end));

    assertThat(RANGE.overlaps(other)).isEqualTo(overlaps);
    assertThat(other.overlaps(RANGE)).isEqualTo(overlaps);
    assertThat(RANGE.contains(other)).isEqualTo(contained);
    assertThat(RANGE.intersect(other)).hasToString(intersection);
  }

  @Test
  void emptyRange_overlapsNothing() {
    GfnRange empty = new GfnRange(0x14, 0x14);
    assertThat(empty.overlaps(empty)).isFalse();
    assertThat(empty.contains(0x14)).isFalse();
  }

  @ParameterizedTest
  @CsvSource({"0x20, 0x10", "-1, 0x10", "-2, -1"})
  void constructor_notAscending_isTheCallersMistake(String start, String end) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new GfnRange(Long.decode(start), Long.decode(end)))
        .withMessageContaining("is not ascending");
  }

  @Test
  void constructor_notAscending_saysWhich() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new GfnRange(0x20, 0x10))
        .withMessage("gfn range [0x20, 0x10) is not ascending");
  }

  @Test
  void ofPages_pastTheLastGfn_isTheCallersMistake() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> GfnRange.ofPages(Long.MAX_VALUE, 1))
        .withMessageContaining("is not ascending");
  }
}
