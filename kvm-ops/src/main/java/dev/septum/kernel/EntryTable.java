package dev.septum.kernel;

/**
 * A page of 512 64-bit entries that walkers read while others write: a page table, an S-EPT page or
 * a PAMT page.
 *
 * <p>A table that is an arithmetic progression, as every table is right after a split or when
 * empty, holds just base and stride; the first individual write turns it into an array, in one step
 * that no reader can see. Every access behaves as if the array had always been there.
 */
public interface EntryTable {

  /** Entries in a table. */
  int ENTRIES = 512;

  /** Reads one entry ({@code READ_ONCE}). */
  long get(int index);

  /** Writes one entry ({@code WRITE_ONCE}, release order). */
  void set(int index, long value);

  /** Stores {@code value} and returns the previous one ({@code xchg}). */
  long getAndSet(int index, long value);

  /**
   * Stores {@code value} if the entry is {@code expected}; returns the value found ({@code
   * try_cmpxchg64}).
   */
  long compareAndExchange(int index, long expected, long value);

  /** Clears the bits that are not in {@code mask} and returns the previous value. */
  long getAndBitwiseAnd(int index, long mask);

  /** Adds {@code delta} to one entry and returns the new value. */
  long addAndGet(int index, long delta);

  /**
   * Adds {@code delta} to a count inside one entry and returns the bits of {@code mask}, which are
   * no part of the count: two of these commute.
   */
  default long addAndGetRest(int index, long delta, long mask) {
    return addAndGet(index, delta) & mask;
  }

  /** Reads the bits of {@code mask}, which {@link #addAndGetRest} never changes. */
  default long getRest(int index, long mask) {
    return get(index) & mask;
  }

  /** Whether no individual entry has been written since the table was filled. */
  boolean isUniform();

  /** The same, under a name by which reports of a schedule call it. For who has just made it. */
  default EntryTable named(String name) {
    return this;
  }

  /**
   * The table's memory is given back. Who accesses it from here on uses it after its free, which
   * runtimes that look for it report (KASAN).
   */
  default void freed() {}
}
