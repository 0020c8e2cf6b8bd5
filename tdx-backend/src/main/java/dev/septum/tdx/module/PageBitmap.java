package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;

/** One bit for each 4K page of a TDMR. */
final class PageBitmap {

  private static final int WORDS_PER_REGION = 8;
  private static final long ALL = -1L;

  private final long base;
  private final EntryTable[] words;

  private PageBitmap(long base, EntryTable[] words) {
    this.base = base;
    this.words = words;
  }

  /** A bitmap of pages whose bits are all clear. */
  static PageBitmap clear(Kernel kernel, PhysicalRange range) {
    EntryTable[] words = new EntryTable[(int) (range.bytes() >>> 27)];
    for (int i = 0; i < words.length; i++) {
      words[i] = kernel.entryTable(0, 0).named("known pages");
    }
    return new PageBitmap(range.base(), words);
  }

  boolean isSet(long hpa) {
    return (table(hpa).get(word(hpa)) & bit(hpa)) != 0;
  }

  /** Sets the page's bit, if it is not set yet. */
  boolean trySet(long hpa) {
    for (; ; ) {
      long seen = table(hpa).get(word(hpa));
      if ((seen & bit(hpa)) != 0) {
        return false;
      }
      if (table(hpa).compareAndExchange(word(hpa), seen, seen | bit(hpa)) == seen) {
        return true;
      }
    }
  }

  void clear(long hpa) {
    if (isSet(hpa)) {
      table(hpa).getAndBitwiseAnd(word(hpa), ~bit(hpa));
    }
  }

  /** Sets all bits of a 2 MiB region that nobody else changes meanwhile. */
  void setRegion(long hpa) {
    fillRegion(hpa, ALL);
  }

  /** Clears all bits of a 2 MiB region that nobody else changes meanwhile. */
  void clearRegion(long hpa) {
    if (count(hpa) != 0) {
      fillRegion(hpa, 0);
    }
  }

  /** How many bits are set in the 2 MiB region of {@code hpa}. */
  int count(long hpa) {
    int first = firstWord(hpa);
    int count = 0;
    for (int i = 0; i < WORDS_PER_REGION; i++) {
      count += Long.bitCount(table(hpa).get(first + i));
    }
    return count;
  }

  private void fillRegion(long hpa, long value) {
    int first = firstWord(hpa);
    for (int i = 0; i < WORDS_PER_REGION; i++) {
      table(hpa).set(first + i, value);
    }
  }

  private EntryTable table(long hpa) {
    return words[(int) ((hpa - base) >>> 27)];
  }

  private static int firstWord(long hpa) {
    return word(hpa) & -WORDS_PER_REGION;
  }

  private static int word(long hpa) {
    return (int) (hpa >>> 18) & (EntryTable.ENTRIES - 1);
  }

  private static long bit(long hpa) {
    return 1L << (hpa >>> 12 & 63);
  }
}
