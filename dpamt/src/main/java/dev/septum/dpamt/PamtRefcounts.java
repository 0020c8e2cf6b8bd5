package dev.septum.dpamt;

import static dev.septum.kernel.PageAllocator.RANGE_PAGES;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.LongPredicate;

/**
 * One counter for each 2 MiB range of host memory ({@code pamt_refcounts}), indexed by pfn. Memory
 * is used where a counter was ever changed.
 */
final class PamtRefcounts {

  private static final int CHUNK_PAGES = EntryTable.ENTRIES * RANGE_PAGES;

  private final long totalPages;

  /** A table for each GiB, the last one perhaps in part. */
  private final EntryTable[] chunks;

  PamtRefcounts(Kernel kernel, long totalPages) {
    this.totalPages = totalPages;
    chunks = new EntryTable[Math.toIntExact((totalPages + CHUNK_PAGES - 1) / CHUNK_PAGES)];
    for (int i = 0; i < chunks.length; i++) {
      chunks[i] = kernel.entryTable(0, 0).named("pamt_refcounts");
    }
  }

  long get(long pfn) {
    return chunk(pfn).get(index(pfn));
  }

  /** Leaves 0, or returns to it after all; {@code pamt_lock} held. */
  void set(long pfn, long count) {
    chunk(pfn).set(index(pfn), count);
  }

  /** Adds {@code delta}, whatever is there; returns what is there then. */
  long addAndGet(long pfn, long delta) {
    return chunk(pfn).addAndGet(index(pfn), delta);
  }

  /** Writes {@code count} if the counter is {@code expected}; says whether it did. */
  boolean compareAndSet(long pfn, long expected, long count) {
    return chunk(pfn).compareAndExchange(index(pfn), expected, count) == expected;
  }

  /** Adds one unless the counter is 0; says whether it did ({@code atomic_inc_not_zero}). */
  boolean incrementUnlessZero(long pfn) {
    return addUnless(pfn, count -> count == 0, 1) != 0;
  }

  /** Takes one unless it is the last; says whether it did ({@code atomic_add_unless}). */
  boolean decrementUnlessLast(long pfn) {
    return addUnless(pfn, count -> count <= 1, -1) > 1;
  }

  /** Takes one unless there is none; {@code pamt_lock} held. Returns what was there before. */
  long decrementUnlessZero(long pfn) {
    return addUnless(pfn, count -> count == 0, -1);
  }

  /** Every counter that is not 0, by the first pfn of its range. */
  Map<Long, Long> nonZero() {
    Map<Long, Long> counts = new TreeMap<>();
    for (int c = 0; c < chunks.length; c++) {
      if (chunks[c].isUniform()) {
        continue;
      }
      for (int i = 0; i < EntryTable.ENTRIES; i++) {
        long count = chunks[c].get(i);
        if (count != 0) {
          counts.put((long) c * CHUNK_PAGES + (long) i * RANGE_PAGES, count);
        }
      }
    }
    return counts;
  }

  /** Adds {@code delta} unless the counter is as {@code barred} says; returns what it found. */
  private long addUnless(long pfn, LongPredicate barred, long delta) {
    EntryTable chunk = chunk(pfn);
    int index = index(pfn);
    long found = chunk.get(index);
    while (!barred.test(found)) {
      long before = chunk.compareAndExchange(index, found, found + delta);
      if (before == found) {
        break;
      }
      found = before;
    }
    return found;
  }

  private EntryTable chunk(long pfn) {
    if (pfn < 0 || pfn >= totalPages) {
      throw new IllegalArgumentException("pfn 0x%x is not host memory".formatted(pfn));
    }
    return chunks[(int) (pfn / CHUNK_PAGES)];
  }

  private static int index(long pfn) {
    return (int) (pfn / RANGE_PAGES) % EntryTable.ENTRIES;
  }

  /** The first pfn of the 2 MiB range that {@code pfn} is in. */
  static long rangeOf(long pfn) {
    return pfn & -RANGE_PAGES;
  }
}
