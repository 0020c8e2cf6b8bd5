package dev.septum.it.bad;

import dev.septum.lab.Progress;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/** Synchronises on its own and knows the lab. */
public final class Undisciplined {

  private final ReentrantLock lock = new ReentrantLock();
  private final AtomicLong counter = new AtomicLong();

  /** Counts under two locks too many. */
  public synchronized void count() {
    lock.lock();
    try {
      Progress.OFF.reached(counter.incrementAndGet());
      Thread.onSpinWait();
    } finally {
      lock.unlock();
    }
  }
}
