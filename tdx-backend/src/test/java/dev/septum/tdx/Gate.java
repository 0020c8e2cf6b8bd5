package dev.septum.tdx;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** A place where one thread stops until a test lets it go on. */
final class Gate {

  private static final long PATIENCE_SECONDS = 30;

  private final CountDownLatch arrived = new CountDownLatch(1);
  private final CountDownLatch opened = new CountDownLatch(1);

  /** Called by the thread that is to stop. */
  void pass() {
    arrived.countDown();
    await(opened, "the gate to open");
  }

  /** Waits until the thread stands at the gate. */
  void awaitArrival() {
    await(arrived, "a thread at the gate");
  }

  void open() {
    opened.countDown();
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

  private static void await(CountDownLatch latch, String what) {
    try {
      if (!latch.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
        throw new AssertionError("waited in vain for " + what);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError("interrupted while waiting for " + what, e);
    }
  }
}
