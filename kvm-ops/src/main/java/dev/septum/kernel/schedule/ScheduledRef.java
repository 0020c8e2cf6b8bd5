package dev.septum.kernel.schedule;

import dev.septum.kernel.PointKind;
import dev.septum.kernel.SharedRef;

/** A shared reference: each access is one step. */
final class ScheduledRef<T> extends SharedObject implements SharedRef<T> {

  private String type = "reference";
  private T value;

  ScheduledRef(ScheduledRun run, T initial) {
    super(run);
    value = initial;
  }

  @Override
  public T get() {
    run.point(this, 0, PointKind.READ);
    return value;
  }

  @Override
  public void set(T newValue) {
    run.point(this, 0, PointKind.WRITE);
    value = newValue;
  }

  @Override
  public ScheduledRef<T> named(String newName) {
    type = newName;
    return this;
  }

  @Override
  String type() {
    return type;
  }
}
