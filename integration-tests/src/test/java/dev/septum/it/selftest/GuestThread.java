package dev.septum.it.selftest;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;

/** A vCPU that runs a loop on a thread of its own until the loop ends or is stopped. */
final class GuestThread {

  private final KernelThread thread;
  private final AtomicLong rounds = new AtomicLong();

  /** Held by the loop for a round, or by whoever paused it; fair, so that a pause gets its turn. */
  private final Semaphore turn = new Semaphore(1, true);

  private volatile boolean stopped;
  private volatile boolean ended;

  /**
   * Starts the loop.
   *
   * @param round one round of the loop; answers whether there is another one
   */
  GuestThread(Kernel kernel, String name, BooleanSupplier round) {
    thread = kernel.spawn(name, () -> run(round));
  }

  private void run(BooleanSupplier round) {
    try {
      boolean again = true;
      while (again && !stopped) {
        turn.acquireUninterruptibly();
        try {
          again = round.getAsBoolean();
        } finally {
          turn.release();
        }
        rounds.incrementAndGet();
      }
    } finally {
      ended = true;
    }
  }

  /** Waits for a round that began after this call and is over; does not wait for a loop's end. */
  void awaitRound() {
    long target = rounds.get() + 2;
    await(() -> rounds.get() >= target);
  }

  /** Waits until a condition holds, or the loop is over. */
  @SuppressWarnings("ThreadPriorityCheck") // Gives the processor to the vCPU, as a sleep would.
  void await(BooleanSupplier condition) {
    while (!condition.getAsBoolean() && !ended) {
      Thread.yield();
    }
  }

  /** Whether the loop is over, be it by itself or because something went wrong in it. */
  boolean isOver() {
    return ended;
  }

  /** Runs a body while the vCPU is outside the guest, between two rounds. */
  void whilePaused(Runnable body) {
    turn.acquireUninterruptibly();
    try {
      body.run();
    } finally {
      turn.release();
    }
  }

  /** Ends the loop after its round; rethrows what went wrong in it. */
  void stop() {
    stopped = true;
    thread.join();
  }

  /** Waits for a loop that ends by itself; rethrows what went wrong in it. */
  void join() {
    thread.join();
  }
}
