package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;

/**
 * Dynamic mode: one bit per 4K page, set while the page is a PAMT page. It stands where static mode
 * has the 4K entries.
 */
final class PageBitmap {

  private static final int WORDS_PER_REGION = 8;

  private final EntryTable[] words;

  PageBitmap(Kernel kernel, long bytes) {
    words = new EntryTable[(int) (bytes >>> 27)];
    for (int i = 0; i < words.length; i++) {
      words[i] = kernel.entryTable(0, 0);
    }
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
    table(hpa).getAndBitwiseAnd(word(hpa), ~bit(hpa));
  }

  /** How many bits are set in the 2 MiB region of {@code hpa}. */
  int count(long hpa) {
    int first = word(hpa) & -WORDS_PER_REGION;
    int count = 0;
    for (int i = 0; i < WORDS_PER_REGION; i++) {
      count += Long.bitCount(table(hpa).get(first + i));
    }
    return count;
  }

  private EntryTable table(long hpa) {
    return words[(int) (hpa >>> 27)];
  }

  private static int word(long hpa) {
    return (int) (hpa >>> 18) & (EntryTable.ENTRIES - 1);
  }

  private static long bit(long hpa) {
    return 1L << (hpa >>> 12 & 63);
  }
}
