package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Which gfns are private ({@code KVM_MEMORY_ATTRIBUTE_PRIVATE}), one bit each.
 *
 * <p>Read without a lock, written under slots_lock. Memory is used where private and shared frames
 * mix; a stretch of one kind costs almost nothing.
 */
final class MemoryAttributes {

  private static final int WORD_GFNS = 64;
  private static final long CHUNK_GFNS = (long) EntryTable.ENTRIES * WORD_GFNS;

  private final Kernel kernel;

  /** Bits of 32768 frames each; a chunk that is not there is shared. */
  private final Map<Long, EntryTable> chunks = new ConcurrentHashMap<>();

  MemoryAttributes(Kernel kernel) {
    this.kernel = kernel;
  }

  boolean isPrivate(long gfn) {
    return (word(gfn) & (1L << (gfn % WORD_GFNS))) != 0;
  }

  /** Whether every frame of the range is of the same given kind. */
  boolean isUniform(GfnRange range, boolean isPrivate) {
    for (long gfn = range.start(); gfn < range.end(); ) {
      long next = Math.min(range.end(), wordsAlike(gfn));
      long mask = gfn / WORD_GFNS == (next - 1) / WORD_GFNS ? mask(gfn, next) : -1L;
      if ((word(gfn) & mask) != (isPrivate ? mask : 0)) {
        return false;
      }
      gfn = next;
    }
    return true;
  }

  /** Makes every frame of the range private or shared. */
  void set(GfnRange range, boolean isPrivate) {
    for (long gfn = range.start(); gfn < range.end(); ) {
      long chunk = gfn / CHUNK_GFNS;
      long chunkEnd = (chunk + 1) * CHUNK_GFNS;
      if (gfn % CHUNK_GFNS == 0 && chunkEnd <= range.end()) {
        if (isPrivate) {
          chunks.put(chunk, kernel.entryTable(-1L, 0).named("mem_attr_array"));
        } else {
          chunks.remove(chunk);
        }
        gfn = chunkEnd;
      } else {
        long next = Math.min(range.end(), (gfn / WORD_GFNS + 1) * WORD_GFNS);
        setWord(chunk, gfn, mask(gfn, next), isPrivate);
        gfn = next;
      }
    }
  }

  /**
   * Whether the aligned range of a level around {@code gfn} has frames of one kind only, that of
   * its first frame ({@code hugepage_has_attrs}).
   */
  boolean isUniformAt(long gfn, PageLevel level) {
    return isUniform(GfnRange.ofPages(gfn, level.pages()), isPrivate(gfn));
  }

  /**
   * The first frame behind those that the gfn's word speaks for: of its chunk, if all are alike.
   */
  private long wordsAlike(long gfn) {
    EntryTable table = chunks.get(gfn / CHUNK_GFNS);
    long stretch = table == null || table.isUniform() ? CHUNK_GFNS : WORD_GFNS;
    return (gfn / stretch + 1) * stretch;
  }

  private void setWord(long chunk, long gfn, long mask, boolean isPrivate) {
    EntryTable table =
        chunks.computeIfAbsent(chunk, c -> kernel.entryTable(0, 0).named("mem_attr_array"));
    int index = index(gfn);
    long old = table.get(index);
    table.set(index, isPrivate ? old | mask : old & ~mask);
  }

  private long word(long gfn) {
    EntryTable table = chunks.get(gfn / CHUNK_GFNS);
    return table == null ? 0 : table.get(index(gfn));
  }

  private static int index(long gfn) {
    return (int) (gfn % CHUNK_GFNS / WORD_GFNS);
  }

  /** Bits of the frames from {@code start} up to {@code end}, which share a word. */
  private static long mask(long start, long end) {
    return (-1L >>> (WORD_GFNS - (end - start))) << (start % WORD_GFNS);
  }
}
