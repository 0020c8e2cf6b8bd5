package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class DirtyRunTest {

  private final DirtyRun run = new DirtyRun();

  private boolean add(long offset) {
    return run.add(new DirtyRing.Entry(1, offset));
  }

  private void assertRun(long offset, long mask, long last) {
    assertThat(run.isEmpty()).isFalse();
    assertThat(run.slot()).isEqualTo(1);
    assertThat(run.offset()).isEqualTo(offset);
    assertThat(run.mask()).isEqualTo(mask);
    assertThat(run.last()).isEqualTo(last);
  }

  @Test
  void firstPage_startsTheRunWhereverItIs() {
    assertThat(run.isEmpty()).isTrue();

    assertThat(add(100)).isTrue();

    assertRun(100, 1, 100);
  }

  @Test
  void forward_upTo64Pages() {
    add(100);

    assertThat(add(102)).isTrue();
    assertThat(add(163)).isTrue();
    assertThat(add(164)).isFalse();

    assertRun(100, Long.MIN_VALUE | 0b101, 163);
  }

  @Test
  void again_changesNothing() {
    add(100);

    assertThat(add(100)).isTrue();

    assertRun(100, 1, 100);
  }

  @Test
  void backward_movesTheStart() {
    add(100);
    add(103);

    assertThat(add(98)).isTrue();

    assertRun(98, 0b100101, 103);
  }

  @Test
  void backward_untilTheLastPageWouldLeaveTheMask() {
    add(100);
    add(110);

    assertThat(add(46)).isFalse();
    assertThat(add(47)).isTrue();

    assertRun(47, Long.MIN_VALUE | 1L << 53 | 1, 110);
  }

  @Test
  void backward_by64_isTooFarEvenForASinglePage() {
    add(100);

    assertThat(add(36)).isFalse();
    assertThat(add(37)).isTrue();

    assertRun(37, Long.MIN_VALUE | 1, 100);
  }

  @Test
  void otherSlot_startsARunOfItsOwn() {
    add(100);

    assertThat(run.add(new DirtyRing.Entry(2, 101))).isFalse();
    assertThat(run.add(new DirtyRing.Entry(0x10001, 101))).isFalse();

    assertRun(100, 1, 100);
  }
}
