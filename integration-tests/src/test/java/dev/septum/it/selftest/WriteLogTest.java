package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.BitSet;
import org.junit.jupiter.api.Test;

/** What a harvest must and may report, write by write. */
final class WriteLogTest {

  private final WriteLog log = new WriteLog(1, 1024, 16);

  private static BitSet pages(int... pages) {
    BitSet set = new BitSet();
    for (int page : pages) {
      set.set(page);
    }
    return set;
  }

  private int write() {
    int page = log.begin();
    log.end();
    return page;
  }

  @Test
  void writeBeforeAHarvest_mustBeInIt_andNotInTheNext() {
    int page = write();
    assertThat(log.during(() -> {})).isEqualTo(new WriteLog.Expected(pages(page), pages(page)));
    assertThat(log.during(() -> {})).isEqualTo(new WriteLog.Expected(pages(), pages()));
  }

  @Test
  void writeDuringAHarvest_mayBeInThisOneOrTheNext() {
    int[] page = {0};
    assertThat(log.during(() -> page[0] = write()))
        .isEqualTo(new WriteLog.Expected(pages(), pages(page[0])));
    assertThat(log.during(() -> {})).isEqualTo(new WriteLog.Expected(pages(), pages(page[0])));
    assertThat(log.during(() -> {})).isEqualTo(new WriteLog.Expected(pages(), pages()));
  }

  @Test
  void writeUnderWay_isTheSameUntilItIsOver() {
    int page = log.begin();
    assertThat(log.begin()).isEqualTo(page);
    assertThat(log.during(() -> {})).isEqualTo(new WriteLog.Expected(pages(), pages(page)));
    log.end();
    assertThat(log.count()).isEqualTo(1);
    assertThat(log.during(() -> {})).isEqualTo(new WriteLog.Expected(pages(), pages(page)));
  }
}
