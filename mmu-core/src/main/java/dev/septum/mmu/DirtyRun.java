package dev.septum.mmu;

/** Neighbouring pages of one slot, at most 64, that came out of a dirty ring one after another. */
final class DirtyRun {

  private int slot;
  private long offset;
  private long mask;

  boolean isEmpty() {
    return mask == 0;
  }

  int slot() {
    return slot;
  }

  /** The first page in the slot. */
  long offset() {
    return offset;
  }

  /** One bit a page, the lowest for {@link #offset}. */
  long mask() {
    return mask;
  }

  /** The last page in the slot. */
  long last() {
    return offset + 63 - Long.numberOfLeadingZeros(mask);
  }

  /**
   * Takes a page in if it is close enough, before or after ({@code kvm_dirty_ring_reset}); false if
   * it starts a run of its own.
   */
  boolean add(DirtyRing.Entry entry) {
    if (mask == 0) {
      slot = entry.slot();
      offset = entry.offset();
      mask = 1;
      return true;
    }
    long delta = entry.offset() - offset;
    if (entry.slot() != slot || delta >= 64 || delta <= -64) {
      return false;
    }
    if (delta >= 0) {
      mask |= 1L << delta;
      return true;
    }
    // Going back must not push the last page out of the mask.
    if ((mask << -delta) >>> -delta != mask) {
      return false;
    }
    offset = entry.offset();
    mask = (mask << -delta) | 1;
    return true;
  }
}
