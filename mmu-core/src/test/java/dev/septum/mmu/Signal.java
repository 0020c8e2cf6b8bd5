package dev.septum.mmu;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** Something that one thread of a test says and another waits for. */
final class Signal {

  private static final long PATIENCE_SECONDS = 60;

  private final CountDownLatch said = new CountDownLatch(1);

  void say() {
    said.countDown();
  }

  void await() {
    try {
      if (!said.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
        throw new AssertionError("waited in vain for a signal");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted while waiting for a signal", e);
    }
  }

  /** Waits until another thread has made {@code condition} true. */
  static void awaitUntil(BooleanSupplier condition, String what) {
    long start = System.nanoTime();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - start > TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS)) {
        throw new AssertionError("waited in vain for " + what);
      }
      Thread.onSpinWait();
    }
  }
}
