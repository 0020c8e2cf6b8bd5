package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.Kernel;
import java.util.List;
import org.junit.jupiter.api.Test;

class DirtyRingTest {

  private static final int SIZE = 256;

  private final DirtyRing ring = new DirtyRing(Kernel.host(), 3, SIZE);

  private void push(int count) {
    for (int i = 0; i < count; i++) {
      ring.push(1, i);
    }
  }

  @Test
  void fresh_isEmpty() {
    assertThat(ring.vcpuId()).isEqualTo(3);
    assertIndices(0, 0, 0);
    assertThat(ring.collect()).isEmpty();
    assertThat(ring.takeCollected()).isEmpty();
    assertThat(ring.isSoftFull()).isFalse();
  }

  @Test
  void entry_goesFromKvmToUserSpaceAndBack() {
    ring.push(0x10002, 7);
    assertIndices(1, 0, 1);
    assertThat(ring.takeCollected()).isEmpty();

    assertThat(ring.collect()).containsExactly(new DirtyRing.Entry(0x10002, 7));
    assertThat(ring.collect()).isEmpty();
    assertIndices(1, 0, 1);

    assertThat(ring.takeCollected()).containsExactly(new DirtyRing.Entry(0x10002, 7));
    assertThat(ring.takeCollected()).isEmpty();
    assertIndices(1, 1, 0);
  }

  @Test
  void whatIsPushedAfterACollect_waitsForTheNextOne() {
    push(2);
    List<DirtyRing.Entry> first = ring.collect();
    ring.push(1, 2);

    assertThat(ring.takeCollected()).isEqualTo(first);
    assertIndices(3, 2, 1);
    assertThat(ring.collect()).containsExactly(new DirtyRing.Entry(1, 2));
  }

  @Test
  void softFull_64EntriesBeforeTheEnd() {
    push(SIZE - 65);
    assertThat(ring.isSoftFull()).isFalse();

    push(1);

    assertThat(ring.isSoftFull()).isTrue();
    assertThat(ring.used()).isEqualTo(192);
  }

  @Test
  void softFull_untilKvmTakesBack_notUntilUserSpaceReads() {
    push(SIZE - 64);

    assertThat(ring.collect()).hasSize(192);
    assertThat(ring.isSoftFull()).isTrue();

    assertThat(ring.takeCollected()).hasSize(192);
    assertThat(ring.isSoftFull()).isFalse();
  }

  @Test
  void fullRing_refusesToOverwriteWhatNobodyTookBack() {
    push(SIZE);
    assertThat(ring.collect()).hasSize(SIZE);

    assertThatIllegalStateException()
        .isThrownBy(() -> ring.push(1, 0))
        .withMessage("the dirty ring of vCPU 3 is full");

    assertIndices(SIZE, 0, SIZE);
  }

  @Test
  void indices_runOnWhileEntriesAreUsedAgain() {
    for (int round = 0; round < 3; round++) {
      push(200);
      assertThat(ring.collect()).hasSize(200).element(199).isEqualTo(new DirtyRing.Entry(1, 199));
      assertThat(ring.takeCollected()).hasSize(200);
    }

    assertIndices(600, 600, 0);
  }

  private void assertIndices(long dirty, long reset, int used) {
    assertThat(List.of(ring.dirtyIndex(), ring.resetIndex(), (long) ring.used()))
        .containsExactly(dirty, reset, (long) used);
  }
}
