package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.conform.Backing.Mapping;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FrameSetTest {

  @ParameterizedTest
  @CsvSource({
    "10, 20, true", // all
    "10, 11, true",
    "19, 20, true",
    "9, 10, false",
    "20, 21, false",
    "9, 11, false", // the first frame is not there
    "19, 21, false", // the last frame is not there
    "30, 40, true",
    "10, 40, false", // a hole
  })
  void range_isThereIfAllOfItIs(long start, long end, boolean there) {
    FrameSet frames = new FrameSet();
    frames.add(10, 20);
    frames.add(30, 40);
    assertThat(frames.contains(start, end)).isEqualTo(there);
  }

  @Test
  void rangesThatOverlapOrTouch_areOne() {
    FrameSet frames = new FrameSet();
    frames.add(10, 20);
    frames.add(30, 40);
    frames.add(12, 14);
    frames.add(20, 30);
    frames.add(5, 11);
    assertThat(frames.contains(5, 40)).isTrue();
    assertThat(frames.contains(4, 40)).isFalse();
    assertThat(frames.contains(5, 41)).isFalse();
  }

  @Test
  void oneRangeAroundOthers_swallowsThem() {
    FrameSet frames = new FrameSet();
    frames.add(10, 20);
    frames.add(30, 40);
    frames.add(0, 50);
    assertThat(frames.contains(0, 50)).isTrue();
  }

  @Test
  void pagesThatAreNotPresent_haveNoFrame() {
    FrameSet frames =
        FrameSet.listed(
            backing(new Backing.Run(0, 4, 0, Mapping.NOT_PRESENT)),
            backing(new Backing.Run(0, 4, 0x100, Mapping.PTE)));
    assertThat(frames.contains(0, 1)).isFalse();
    assertThat(frames.contains(0x100, 0x104)).isTrue();
  }

  private static Backing backing(Backing.Run run) {
    return new Backing(
        ImmutableList.of(new Backing.Slot(1, 0, 0x4000, 0x1000, ImmutableList.of(run))));
  }
}
