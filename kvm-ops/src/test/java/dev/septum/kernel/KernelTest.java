package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import java.util.List;
import org.junit.jupiter.api.Test;

class KernelTest {

  private final Kernel kernel = Kernel.host();

  @Test
  void join_threadFailed_rethrowsWithItsNameAndCause() {
    IllegalArgumentException cause = new IllegalArgumentException("pfn 0x5 is odd");
    KernelThread thread =
        kernel.spawn(
            "splitter",
            () -> {
              throw cause;
            });

    for (int i = 0; i < 2; i++) {
      assertThatIllegalStateException()
          .isThrownBy(thread::join)
          .withMessage("thread splitter failed: pfn 0x5 is odd")
          .withCause(cause);
    }
  }

  @Test
  void join_threadFailedWithAnError_rethrowsItToo() {
    KernelThread thread =
        kernel.spawn(
            "checker",
            () -> {
              throw new AssertionError("counts differ");
            });

    assertThatIllegalStateException()
        .isThrownBy(thread::join)
        .withMessage("thread checker failed: counts differ")
        .withCauseInstanceOf(AssertionError.class);
  }

  @Test
  void join_threadEndedWithALockHeld_fails() {
    SpinLock lock = kernel.spinLock(LockClass.PAMT_LOCK);

    assertThatIllegalStateException()
        .isThrownBy(() -> kernel.spawn("putter", lock::lock).join())
        .withMessage("thread putter failed: lock held at the end of thread putter: pamt_lock");
  }

  @Test
  void join_threadEndedWell_seesWhatItDid() {
    int[] plain = {0};

    kernel.spawn("writer", () -> plain[0] = 5).join();

    assertThat(plain[0]).isEqualTo(5);
  }

  @Test
  void word_hasTheKernelsAtomics() {
    SharedWord word = kernel.word(3);

    assertThat(word.get()).isEqualTo(3);
    assertThat(word.addAndGet(-5)).isEqualTo(-2);
    assertThat(word.compareAndSet(7, 8)).isFalse();
    assertThat(word.compareAndSet(-2, 8)).isTrue();
    word.set(Long.MIN_VALUE);
    assertThat(word.get()).isEqualTo(Long.MIN_VALUE);
    assertThat(word).hasToString("-9223372036854775808");
  }

  @Test
  void word_fromTwoThreads_losesNothing() {
    SharedWord word = kernel.word(0);
    Runnable adds =
        () -> {
          for (int i = 0; i < 10_000; i++) {
            word.addAndGet(1);
          }
        };

    List.of(kernel.spawn("a", adds), kernel.spawn("b", adds)).forEach(KernelThread::join);

    assertThat(word.get()).isEqualTo(20_000);
  }

  @Test
  void gfp_onlyAtomicNeverSleeps() {
    assertThat(Gfp.values()).filteredOn(gfp -> !gfp.maySleep()).containsExactly(Gfp.ATOMIC);
  }
}
