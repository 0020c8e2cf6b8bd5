package dev.septum.kernel.schedule;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.PointKind;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * An entry table: each access is one step at its entry. Whether the table is uniform is answered
 * without a step, as who asks holds a lock against those who write.
 */
final class ScheduledEntryTable extends SharedObject implements EntryTable {

  private String type = "table";
  private final long base;
  private final long stride;
  private long @Nullable [] entries;
  private @Nullable Map<Integer, History> histories;

  ScheduledEntryTable(ScheduledRun run, long base, long stride) {
    super(run);
    this.base = base;
    this.stride = stride;
  }

  @Override
  public long get(int index) {
    Objects.checkIndex(index, ENTRIES);
    run.point(this, index, PointKind.READ);
    return value(index);
  }

  @Override
  public void set(int index, long value) {
    Objects.checkIndex(index, ENTRIES);
    run.point(this, index, PointKind.WRITE);
    array()[index] = value;
  }

  @Override
  public long getAndSet(int index, long value) {
    long old = update(index);
    array()[index] = value;
    return old;
  }

  @Override
  public long compareAndExchange(int index, long expected, long value) {
    long old = update(index);
    if (old == expected) {
      array()[index] = value;
    }
    return old;
  }

  @Override
  public long getAndBitwiseAnd(int index, long mask) {
    long old = update(index);
    array()[index] = old & mask;
    return old;
  }

  @Override
  public long addAndGet(int index, long delta) {
    long next = update(index) + delta;
    array()[index] = next;
    return next;
  }

  @Override
  public long addAndGetRest(int index, long delta, long mask) {
    Objects.checkIndex(index, ENTRIES);
    run.point(this, index, PointKind.ADD);
    array()[index] += delta;
    return value(index) & mask;
  }

  @Override
  public long getRest(int index, long mask) {
    Objects.checkIndex(index, ENTRIES);
    run.point(this, index, PointKind.READ_REST);
    return value(index) & mask;
  }

  @Override
  public boolean isUniform() {
    return entries == null;
  }

  private long update(int index) {
    Objects.checkIndex(index, ENTRIES);
    run.point(this, index, PointKind.UPDATE);
    // As on real threads, a write that changes nothing is an individual write all the same.
    array();
    return value(index);
  }

  private long value(int index) {
    long[] array = entries;
    return array == null ? base + index * stride : array[index];
  }

  private long[] array() {
    long[] array = entries;
    if (array == null) {
      array = new long[ENTRIES];
      for (int i = 0; i < ENTRIES; i++) {
        array[i] = base + i * stride;
      }
      entries = array;
    }
    return array;
  }

  @Override
  History history(int index) {
    if (histories == null) {
      histories = new HashMap<>();
    }
    return histories.computeIfAbsent(index, key -> new History());
  }

  @Override
  public ScheduledEntryTable named(String newName) {
    type = newName;
    return this;
  }

  @Override
  String type() {
    return type;
  }

  @Override
  String name(int index) {
    return super.name(index) + "[" + index + "]";
  }
}
