package dev.septum.kernel.schedule;

import dev.septum.kernel.PointKind;
import dev.septum.kernel.SharedWord;

/** A shared word: each access is one step, and threads see them in one order. */
final class ScheduledWord extends SharedObject implements SharedWord {

  private String type = "word";
  private long value;

  ScheduledWord(ScheduledRun run, long initial) {
    super(run);
    value = initial;
  }

  @Override
  public long get() {
    run.point(this, 0, PointKind.READ);
    return value;
  }

  @Override
  public void set(long newValue) {
    run.point(this, 0, PointKind.WRITE);
    value = newValue;
  }

  @Override
  public long addAndGet(long delta) {
    run.point(this, 0, PointKind.UPDATE);
    value += delta;
    return value;
  }

  @Override
  public void add(long delta) {
    run.point(this, 0, PointKind.ADD);
    value += delta;
  }

  @Override
  public long addAndGetRest(long delta, long mask) {
    add(delta);
    return value & mask;
  }

  @Override
  public boolean compareAndSet(long expected, long newValue) {
    run.point(this, 0, PointKind.UPDATE);
    boolean same = value == expected;
    if (same) {
      value = newValue;
    }
    return same;
  }

  @Override
  public ScheduledWord named(String newName) {
    type = newName;
    return this;
  }

  @Override
  String type() {
    return type;
  }

  @Override
  public String toString() {
    return Long.toString(value);
  }
}
