package dev.septum.kernel.schedule;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Java threads that carry one emulated thread after another. Used by who has the token. */
final class CarrierPool {

  private final ThreadFactory factory;
  private final Deque<Worker> idle = new ArrayDeque<>();

  CarrierPool(Carrier carrier) {
    factory = carrier.factory(1);
  }

  /** Runs {@code job} on a carrier, which it gives back before it gives the token away. */
  void start(Consumer<Worker> job) {
    Worker worker = idle.poll();
    if (worker == null) {
      worker = new Worker();
      worker.job = job;
      worker.thread = factory.newThread(worker);
      worker.thread.start();
    } else {
      worker.job = job;
      LockSupport.unpark(worker.thread);
    }
  }

  /** The carrier can have another job, though it has not quite done with its last one. */
  void giveBack(Worker worker) {
    idle.push(worker);
  }

  /** Ends the idle carriers. */
  void close() {
    for (Worker worker : idle) {
      worker.closed = true;
      LockSupport.unpark(worker.thread);
    }
    idle.clear();
  }

  /** One carrier. */
  static final class Worker implements Runnable {

    private volatile @Nullable Consumer<Worker> job;
    private volatile boolean closed;
    private @Nullable Thread thread;

    @Override
    public void run() {
      while (true) {
        Consumer<Worker> next = job;
        if (next != null) {
          job = null;
          next.accept(this);
        } else if (closed) {
          return;
        } else {
          LockSupport.park(this);
        }
      }
    }
  }
}
