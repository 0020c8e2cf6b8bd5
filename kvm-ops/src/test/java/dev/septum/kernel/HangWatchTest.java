package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.collect.ImmutableList;
import com.google.common.util.concurrent.SettableFuture;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class HangWatchTest {

  private final List<String> told = new CopyOnWriteArrayList<>();
  private final CountDownLatch lost = new CountDownLatch(1);

  private final HangWatch.Listener listener =
      new HangWatch.Listener() {
        @Override
        public void hangs(Object what, String thread, ImmutableList<StackTraceElement> stack) {
          told.add(
              "%s hangs on %s in %s"
                  .formatted(
                      what,
                      thread,
                      stack.stream()
                          .map(StackTraceElement::getMethodName)
                          .filter(name -> name.startsWith("waits"))
                          .findFirst()
                          .orElse("something else")));
        }

        @Override
        public void endsLate(Object what) {
          told.add(what + " ends late");
        }

        @Override
        public void isLost(Object what) {
          told.add(what + " is lost");
          lost.countDown();
        }
      };

  private HangWatch watch(long patienceMs, long graceMs) {
    return HangWatch.start(Duration.ofMillis(patienceMs), Duration.ofMillis(graceMs), listener);
  }

  /** In somebody else's code, so that it is no wait for the kernel. */
  private static void waitsForEver() {
    try {
      SettableFuture.create().get();
    } catch (InterruptedException | ExecutionException e) {
      throw new IllegalStateException("interrupted", e);
    }
  }

  @Test
  void workThatHangs_isToldAndInterrupted_andTheInterruptEndsWithIt() {
    Thread.currentThread().setName("worker");
    try (HangWatch watch = watch(50, 60_000)) {
      assertThatThrownBy(() -> watch.during("it", HangWatchTest::waitsForEver))
          .hasMessage("interrupted");
      assertThat(told).containsExactly("it hangs on worker in waitsForEver", "it ends late");
      assertThat(Thread.currentThread().isInterrupted()).isFalse();
    }
  }

  @Test
  void workThatMindsNoInterrupt_isLost() throws Exception {
    try (HangWatch watch = watch(50, 50)) {
      CountDownLatch deaf = new CountDownLatch(1);
      KernelThread worker =
          Kernel.host()
              .spawn(
                  "deaf",
                  () ->
                      watch.during(
                          "it",
                          () -> {
                            while (deaf.getCount() > 0) {
                              Thread.onSpinWait();
                            }
                          }));
      lost.await();
      deaf.countDown();
      worker.join();
      assertThat(told)
          .containsExactly("it hangs on deaf in something else", "it is lost", "it ends late");
    }
  }

  @Test
  void workThatEnds_isNotToldOf() {
    try (HangWatch watch = watch(60_000, 60_000)) {
      int[] done = new int[1];
      watch.during("it", () -> done[0]++);
      assertThat(done).containsExactly(1);
      assertThat(told).isEmpty();
    }
  }

  /** Who waits for a lock is late because of its holder, who is told of first. */
  @Test
  void workThatWaitsForALock_isNotTheFirstToBeTold() {
    Kernel kernel = Kernel.host();
    SpinLock lock = kernel.spinLock(LockClass.EXTERNAL_TABLE_LOCK);
    CountDownLatch held = new CountDownLatch(1);
    try (HangWatch watch = watch(400, 60_000)) {
      KernelThread waiter =
          kernel.spawn(
              "waiter",
              () -> {
                awaitQuietly(held);
                watch.during(
                    "the waiter",
                    () -> {
                      lock.lock();
                      lock.unlock();
                    });
              });
      KernelThread holder =
          kernel.spawn(
              "holder",
              () -> {
                lock.lock();
                try {
                  held.countDown();
                  watch.during("the holder", HangWatchTest::waitsForEver);
                } finally {
                  lock.unlock();
                }
              });
      assertThatThrownBy(holder::join).hasMessageContaining("interrupted");
      waiter.join();
      assertThat(told.get(0)).isEqualTo("the holder hangs on holder in waitsForEver");
      assertThat(told).doesNotContain("the waiter hangs on waiter in something else");
    }
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
