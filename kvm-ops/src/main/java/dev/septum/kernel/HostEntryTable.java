package dev.septum.kernel;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** An entry table on real threads. */
final class HostEntryTable implements EntryTable {

  private static final VarHandle ENTRY = MethodHandles.arrayElementVarHandle(long[].class);
  private static final VarHandle ENTRIES_FIELD;

  static {
    try {
      ENTRIES_FIELD =
          MethodHandles.lookup().findVarHandle(HostEntryTable.class, "entries", long[].class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final long base;
  private final long stride;

  /** The entries, or null while the table is still the progression it was filled with. */
  private volatile long @Nullable [] entries;

  HostEntryTable(long base, long stride) {
    this.base = base;
    this.stride = stride;
  }

  @Override
  public long get(int index) {
    long[] array = entries;
    return array == null
        ? base + Objects.checkIndex(index, ENTRIES) * stride
        : (long) ENTRY.getVolatile(array, index);
  }

  @Override
  public void set(int index, long value) {
    ENTRY.setRelease(array(), index, value);
  }

  @Override
  public long getAndSet(int index, long value) {
    return (long) ENTRY.getAndSet(array(), index, value);
  }

  @Override
  public long compareAndExchange(int index, long expected, long value) {
    return (long) ENTRY.compareAndExchange(array(), index, expected, value);
  }

  @Override
  public long getAndBitwiseAnd(int index, long mask) {
    return (long) ENTRY.getAndBitwiseAnd(array(), index, mask);
  }

  @Override
  public long addAndGet(int index, long delta) {
    return (long) ENTRY.getAndAdd(array(), index, delta) + delta;
  }

  @Override
  public boolean isUniform() {
    return entries == null;
  }

  private long[] array() {
    long[] array = entries;
    return array != null ? array : inflate();
  }

  private long[] inflate() {
    long[] filled = new long[ENTRIES];
    for (int i = 0; i < ENTRIES; i++) {
      filled[i] = base + i * stride;
    }
    // Two first writers race here: both must write to the one array that got published.
    long[] winner = (long[]) ENTRIES_FIELD.compareAndExchange(this, null, filled);
    return winner == null ? filled : winner;
  }
}
