package dev.septum.kernel;

/** A 64-bit word that threads share without a lock ({@code atomic64_t}, or a READ_ONCE field). */
public interface SharedWord {

  /** Reads the word once, whole ({@code READ_ONCE}). */
  long get();

  /** Writes the word once, whole ({@code WRITE_ONCE} with release order). */
  void set(long value);

  /** Adds {@code delta} and returns the new value ({@code atomic64_add_return}). */
  long addAndGet(long delta);

  /** Adds {@code delta} for others to see, as a statistic is counted ({@code atomic64_add}). */
  default void add(long delta) {
    addAndGet(delta);
  }

  /**
   * Adds {@code delta} to a count inside the word and returns the bits of {@code mask}, which are
   * no part of the count: two of these commute.
   */
  default long addAndGetRest(long delta, long mask) {
    return addAndGet(delta) & mask;
  }

  /** Stores {@code value} if the word is {@code expected}; says whether it did. */
  boolean compareAndSet(long expected, long value);

  /** The same, under a name by which reports of a schedule call it. For who has just made it. */
  default SharedWord named(String name) {
    return this;
  }
}
