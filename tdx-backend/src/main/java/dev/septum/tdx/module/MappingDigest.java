package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;

/**
 * Which 4K page is where in one TD, as a sum over all of them. Adding, removing and relocating
 * pages keeps it up to date and resizing does not touch it, so that it tells whether resizing
 * preserved the mapping (I16).
 */
final class MappingDigest {

  private static final long GPA_PRIME = 0x9E3779B97F4A7C15L;
  private static final long MIX_PRIME = 0xBF58476D1CE4E5B9L;

  private final SharedWord sum;

  MappingDigest(Kernel kernel) {
    sum = kernel.word(0).named("mapping digest");
  }

  /** A page of this level was mapped. */
  void added(long gpa, long hpa, int level) {
    sum.addAndGet(of(gpa, hpa, level));
  }

  /** A page of this level was unmapped. */
  void removed(long gpa, long hpa, int level) {
    sum.addAndGet(-of(gpa, hpa, level));
  }

  long sum() {
    return sum.get();
  }

  /** What the page contributes, whatever the sizes in which it is mapped. */
  static long of(long gpa, long hpa, int level) {
    long sum = 0;
    long frame = gpa >>> 12;
    long page = hpa >>> 12;
    for (long i = 0; i < SeptEntry.pages(level); i++) {
      sum += ofFrame(frame + i, page + i);
    }
    return sum;
  }

  private static long ofFrame(long frame, long page) {
    long mixed = (frame * GPA_PRIME ^ page) * MIX_PRIME;
    return (mixed ^ mixed >>> 29) * GPA_PRIME;
  }
}
