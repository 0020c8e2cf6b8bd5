package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PagePairTest {

  @ParameterizedTest
  @CsvSource({"-1, 5", "5, -1", "5, 5"})
  void pair_ofFewerThanTwoPages_isTheCallersMistake(long first, long second) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new PagePair(first, second))
        .withMessage("pfns %s and %s are not two pages", first, second);
  }

  @Test
  void pair_printsItsPfns() {
    assertThat(new PagePair(0x1f, 3)).hasToString("{0x1f, 0x3}");
  }
}
