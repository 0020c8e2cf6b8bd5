package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.LockChecker.LockViolation;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class MmuInvalidateTest {

  private final TestVm vm = TestVm.ordinary();
  private final MmuInvalidate invalidate = vm.mmu.invalidate();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  @Test
  void mustRetry_nothingGoingOn_isFalse() {
    assertThat(invalidate.seq()).isZero();
    assertThat(invalidate.isInProgress()).isFalse();
    assertThat(invalidate.mustRetry(0, 5)).isFalse();
  }

  @Test
  void mustRetry_inProgress_insideTheRangeOnly() {
    begin(new GfnRange(5, 7));

    assertThat(invalidate.mustRetry(0, 4)).isFalse();
    assertThat(invalidate.mustRetry(0, 5)).isTrue();
    assertThat(invalidate.mustRetry(0, 6)).isTrue();
    assertThat(invalidate.mustRetry(0, 7)).isFalse();
    end();
  }

  @Test
  void mustRetry_afterTheEnd_forWhoSampledBeforeIt() {
    begin(new GfnRange(5, 7));
    long before = invalidate.seq();
    end();

    assertThat(invalidate.mustRetry(before, 100)).isTrue();
    assertThat(invalidate.mustRetry(invalidate.seq(), 5)).isFalse();
    assertThat(invalidate.seq()).isEqualTo(before + 1);
  }

  @Test
  void range_widensUntilTheLastInvalidationEnds() {
    begin(new GfnRange(0x200, 0x400));
    begin(new GfnRange(0x100, 0x101));
    end();
    long seq = invalidate.seq();

    assertThat(invalidate.isInProgress()).isTrue();
    assertThat(invalidate.mustRetry(seq, 0x100)).isTrue();
    assertThat(invalidate.mustRetry(seq, 0x180)).isTrue();
    assertThat(invalidate.mustRetry(seq, 0x3ff)).isTrue();
    assertThat(invalidate.mustRetry(seq, 0xff)).isFalse();
    end();

    begin(new GfnRange(8, 9));
    assertThat(invalidate.mustRetry(invalidate.seq(), 0x200)).isFalse();
    assertThat(invalidate.mustRetry(invalidate.seq(), 8)).isTrue();
    end();
  }

  @Test
  void range_fromGfn0_isARangeToo() {
    begin(new GfnRange(0, 1));

    assertThat(invalidate.mustRetry(0, 0)).isTrue();
    assertThat(invalidate.mustRetry(0, 1)).isFalse();
    end();
  }

  @Test
  void addRange_beforeBegin_isRefused() {
    assertThatIllegalStateException()
        .isThrownBy(() -> locked(() -> invalidate.addRange(new GfnRange(0, 1))))
        .withMessage("no invalidation has begun");
  }

  @Test
  void end_withoutBegin_bugsTheVm() {
    end();

    vm.assertBugged("kvm->mmu_invalidate_in_progress < 0");
    locked(invalidate::begin);
  }

  @Test
  void everyStep_needsTheWriteLock() {
    for (Runnable step :
        new Runnable[] {
          invalidate::begin, () -> invalidate.addRange(new GfnRange(0, 1)), invalidate::end
        }) {
      assertThatExceptionOfType(LockViolation.class)
          .isThrownBy(step::run)
          .withMessage("mmu_lock is not held for write");
    }
  }

  private void begin(GfnRange range) {
    locked(
        () -> {
          invalidate.begin();
          invalidate.addRange(range);
        });
  }

  private void end() {
    locked(invalidate::end);
  }

  private void locked(Runnable body) {
    vm.mmu.withMmuLock(
        () -> {
          body.run();
          return Errno.OK;
        });
  }
}
