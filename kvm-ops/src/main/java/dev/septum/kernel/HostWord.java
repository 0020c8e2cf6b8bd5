package dev.septum.kernel;

import java.util.concurrent.atomic.AtomicLong;

/** A shared word on real threads. */
final class HostWord implements SharedWord {

  private final AtomicLong value;

  HostWord(long initial) {
    value = new AtomicLong(initial);
  }

  @Override
  public long get() {
    return value.get();
  }

  @Override
  public void set(long newValue) {
    value.setRelease(newValue);
  }

  @Override
  public long addAndGet(long delta) {
    return value.addAndGet(delta);
  }

  @Override
  public boolean compareAndSet(long expected, long newValue) {
    return value.compareAndSet(expected, newValue);
  }

  @Override
  public String toString() {
    return value.toString();
  }
}
