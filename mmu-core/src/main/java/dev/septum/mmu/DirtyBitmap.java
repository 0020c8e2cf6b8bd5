package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;

/**
 * Which pages of a memslot were dirtied, one bit each ({@code memslot->dirty_bitmap}).
 *
 * <p>Bits are set without a lock; words are taken and cleared under mmu_lock.
 */
final class DirtyBitmap {

  static final int WORD_PAGES = 64;

  private final long pages;
  private final EntryTable[] words;

  /** All clear, or all set if user space manages the bits itself and wants every page first. */
  DirtyBitmap(Kernel kernel, long pages, boolean allSet) {
    this.pages = pages;
    long count = wordCount(pages);
    words = new EntryTable[Math.toIntExact((count + EntryTable.ENTRIES - 1) / EntryTable.ENTRIES)];
    for (int i = 0; i < words.length; i++) {
      words[i] = kernel.entryTable(allSet ? -1L : 0, 0).named("dirty_bitmap");
    }
    if (allSet && pages % WORD_PAGES != 0) {
      set(Math.toIntExact(count - 1), (1L << (pages % WORD_PAGES)) - 1);
    }
  }

  static long wordCount(long pages) {
    return (pages + WORD_PAGES - 1) / WORD_PAGES;
  }

  /** Words in the bitmap. */
  int words() {
    return Math.toIntExact(wordCount(pages));
  }

  long word(int index) {
    return table(index).get(index % EntryTable.ENTRIES);
  }

  /** Takes a whole word and leaves it clear ({@code xchg}). */
  long take(int index) {
    return table(index).getAndSet(index % EntryTable.ENTRIES, 0);
  }

  /** Clears the bits of a mask; returns those of them that were set. */
  long clear(int index, long mask) {
    return table(index).getAndBitwiseAnd(index % EntryTable.ENTRIES, ~mask) & mask;
  }

  /** Marks a page dirty, by its offset in the slot ({@code set_bit_le}). */
  void mark(long page) {
    int index = Math.toIntExact(page / WORD_PAGES);
    long bit = 1L << (page % WORD_PAGES);
    long old = word(index);
    while ((old & bit) == 0) {
      long found = table(index).compareAndExchange(index % EntryTable.ENTRIES, old, old | bit);
      if (found == old) {
        return;
      }
      old = found;
    }
  }

  private void set(int index, long value) {
    table(index).set(index % EntryTable.ENTRIES, value);
  }

  private EntryTable table(int index) {
    return words[index / EntryTable.ENTRIES];
  }
}
