package dev.septum.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PageLevelTest {

  @ParameterizedTest
  @CsvSource({
    "LEVEL_4K,   1, 0x1",
    "LEVEL_2M,   2, 0x200",
    "LEVEL_1G,   3, 0x40000",
    "LEVEL_512G, 4, 0x8000000",
    "LEVEL_256T, 5, 0x1000000000"
  })
  void level_hasKvmsNumberAndSize(PageLevel level, int number, String pages) {
    assertThat(level.number()).isEqualTo(number);
    assertThat(PageLevel.of(number)).isEqualTo(level);
    assertThat(level.pages()).isEqualTo(Long.decode(pages));
  }

  @ParameterizedTest
  @CsvSource({
    "LEVEL_4K, 0x12345,      0x12345,    0x12345,    0x145, true",
    "LEVEL_2M, 0x12345,      0x12200,    0x12400,    0x91,  false",
    "LEVEL_2M, 0x12200,      0x12200,    0x12200,    0x91,  true",
    "LEVEL_2M, 0x121ff,      0x12000,    0x12200,    0x90,  false",
    "LEVEL_1G, 0x12345,      0x0,        0x40000,    0x0,   false",
    "LEVEL_1G, 0x7ffffff,    0x7fc0000,  0x8000000,  0x1ff, false",
    "LEVEL_1G, 0x8000000,    0x8000000,  0x8000000,  0x0,   true",
    "LEVEL_512G, 0x8000000,  0x8000000,  0x8000000,  0x1,   true",
    "LEVEL_256T, 0xfffffffff,0x0,        0x1000000000, 0x0, false"
  })
  void gfn_isAlignedAndIndexed(
      PageLevel level, String gfn, String down, String up, String index, boolean aligned) {
    long g = Long.decode(gfn);
    assertThat(level.alignDown(g)).isEqualTo(Long.decode(down));
    assertThat(level.alignUp(g)).isEqualTo(Long.decode(up));
    assertThat(level.indexOf(g)).isEqualTo(Integer.decode(index));
    assertThat(level.isAligned(g)).isEqualTo(aligned);
  }

  @Test
  void belowAndAbove_goOneLevel() {
    assertThat(PageLevel.LEVEL_1G.below()).isEqualTo(PageLevel.LEVEL_2M);
    assertThat(PageLevel.LEVEL_1G.above()).isEqualTo(PageLevel.LEVEL_512G);
  }

  @Test
  void belowAndAbove_pastTheEnds_areTheCallersMistake() {
    assertThatIllegalArgumentException()
        .isThrownBy(PageLevel.LEVEL_4K::below)
        .withMessage("level 0 is not in [1, 5]");
    assertThatIllegalArgumentException()
        .isThrownBy(PageLevel.LEVEL_256T::above)
        .withMessage("level 6 is not in [1, 5]");
  }

  @ParameterizedTest
  @ValueSource(ints = {Integer.MIN_VALUE, -1, 0, 6})
  void of_noSuchLevel_isTheCallersMistake(int number) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> PageLevel.of(number))
        .withMessage("level %s is not in [1, 5]", number);
  }

  @Test
  void none_hasNoSize() {
    assertThatIllegalStateException()
        .isThrownBy(PageLevel.NONE::pages)
        .withMessage("level NONE has no size");
    assertThatIllegalStateException().isThrownBy(() -> PageLevel.NONE.alignDown(0));
    assertThatIllegalStateException().isThrownBy(() -> PageLevel.NONE.indexOf(0));
  }

  @Test
  void minAndIsAbove_compareSizes() {
    assertThat(PageLevel.min(PageLevel.LEVEL_1G, PageLevel.LEVEL_2M)).isEqualTo(PageLevel.LEVEL_2M);
    assertThat(PageLevel.min(PageLevel.LEVEL_4K, PageLevel.LEVEL_2M)).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(PageLevel.LEVEL_2M.isAbove(PageLevel.LEVEL_4K)).isTrue();
    assertThat(PageLevel.LEVEL_2M.isAbove(PageLevel.LEVEL_2M)).isFalse();
    assertThat(PageLevel.LEVEL_2M.isAbove(PageLevel.LEVEL_1G)).isFalse();
  }
}
