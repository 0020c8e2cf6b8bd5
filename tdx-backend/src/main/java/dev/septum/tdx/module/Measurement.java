package dev.septum.tdx.module;

import org.jspecify.annotations.Nullable;

/**
 * Stands for MRTD: a 64-bit FNV-1a digest of what was added and extended, in order. The module's is
 * SHA-384 over page contents, which are not modelled; this one is ours and only tells two build
 * sequences apart.
 */
final class Measurement {

  private static final long OFFSET_BASIS = 0xCBF29CE484222325L;
  private static final long PRIME = 0x100000001B3L;

  private long digest = OFFSET_BASIS;
  private @Nullable Long finished;

  /** PAGE.ADD of a page at {@code gpa}. */
  void pageAdded(long gpa) {
    extend(SeamcallLeaf.TDH_MEM_PAGE_ADD, gpa);
  }

  /** MR.EXTEND with the 256-byte chunk at {@code gpa}. */
  void chunkExtended(long gpa) {
    extend(SeamcallLeaf.TDH_MR_EXTEND, gpa);
  }

  /** MR.FINALIZE. */
  void finish() {
    finished = digest;
  }

  /** Whether nothing was measured since MR.FINALIZE, if it was called. */
  boolean isIntact() {
    return finished == null || finished == digest;
  }

  long digest() {
    return digest;
  }

  private void extend(SeamcallLeaf leaf, long gpa) {
    digest = (digest ^ leaf.number()) * PRIME;
    for (int shift = 0; shift < 64; shift += 8) {
      digest = (digest ^ (gpa >>> shift & 0xFF)) * PRIME;
    }
  }
}
