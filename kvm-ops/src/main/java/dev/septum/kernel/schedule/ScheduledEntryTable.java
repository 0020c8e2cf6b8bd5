package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
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
  private boolean freed;

  ScheduledEntryTable(ScheduledRun run, long base, long stride) {
    super(run);
    this.base = base;
    this.stride = stride;
  }

  @Override
  public long get(int index) {
    access(index, PointKind.READ);
    return value(index);
  }

  @Override
  public void set(int index, long value) {
    access(index, PointKind.WRITE);
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
    access(index, PointKind.ADD);
    array()[index] += delta;
    return value(index) & mask;
  }

  @Override
  public long getRest(int index, long mask) {
    access(index, PointKind.READ_REST);
    return value(index) & mask;
  }

  @Override
  public boolean isUniform() {
    return entries == null;
  }

  @Override
  public void freed() {
    run.point(this, WHOLE, PointKind.WRITE);
    freed = true;
  }

  private void access(int index, PointKind kind) {
    Objects.checkIndex(index, ENTRIES);
    run.point(this, index, kind);
    if (freed) {
      throw new IllegalStateException(
          "use after free: %s of %s".formatted(kind.word(), name(index)));
    }
  }

  private long update(int index) {
    access(index, PointKind.UPDATE);
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
  Iterable<History> historiesMetAt(int index) {
    if (index != WHOLE) {
      return ImmutableList.of(history(index), history(WHOLE));
    }
    return histories == null ? ImmutableList.of() : ImmutableList.copyOf(histories.values());
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
    return index == WHOLE ? super.name(index) : super.name(index) + "[" + index + "]";
  }
}
