package dev.septum.kernel;

import java.util.ArrayDeque;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * RCU on real threads: a reader notes the epoch in which it entered, a callback waits until every
 * reader of its epoch or an older one has left.
 */
final class HostRcu implements Rcu {

  private static final long QUIESCENT = Long.MAX_VALUE;

  private record Callback(long epoch, Runnable body) {}

  private final LockChecker checker;
  private final AtomicLong epoch = new AtomicLong(1);
  private final Set<AtomicLong> readers = ConcurrentHashMap.newKeySet();
  private final ThreadLocal<AtomicLong> reader =
      ThreadLocal.withInitial(
          () -> {
            AtomicLong mine = new AtomicLong(QUIESCENT);
            readers.add(mine);
            return mine;
          });
  private final Queue<Callback> callbacks = new ArrayDeque<>();
  private volatile boolean callbacksWait;
  private int running;

  HostRcu(LockChecker checker) {
    this.checker = checker;
  }

  @Override
  public void readLock() {
    if (checker.rcuEnter() == 0) {
      reader.get().set(epoch.get());
    }
  }

  @Override
  public void readUnlock() {
    if (checker.rcuExit() == 0) {
      reader.get().set(QUIESCENT);
      if (callbacksWait) {
        runReady();
      }
    }
  }

  @Override
  public void call(Runnable callback) {
    synchronized (callbacks) {
      callbacks.add(new Callback(epoch.getAndIncrement(), callback));
      callbacksWait = true;
    }
    if (!checker.inRcuReadSection()) {
      runReady();
    }
  }

  @Override
  public void barrier() {
    checker.mightSleep("rcu_barrier");
    while (callbacksWait) {
      runReady();
      Thread.onSpinWait();
    }
  }

  @Override
  public void assertReadSection() {
    checker.requireRcuReadSection();
  }

  /** The calling thread ends: nobody waits for it any more, even if it never left its section. */
  void threadEnds() {
    readers.remove(reader.get());
    reader.remove();
  }

  private void runReady() {
    while (true) {
      Callback ready;
      synchronized (callbacks) {
        Callback first = callbacks.peek();
        if (first == null) {
          callbacksWait = running > 0;
          return;
        }
        if (readers.stream().anyMatch(r -> r.get() <= first.epoch)) {
          return;
        }
        ready = callbacks.remove();
        running++;
      }
      try {
        ready.body.run();
      } finally {
        synchronized (callbacks) {
          running--;
        }
      }
    }
  }
}
