package dev.septum.it.differential;

import dev.septum.kvm.PageLevel;

/**
 * A leaf as both hosts can have it: they hand out different pages, so it says which page of the
 * guest's memory is behind it.
 *
 * @param behind the frame of its file, or of the VMM's memory, that the first gfn leads to
 */
record Mapping(Table table, long gfn, PageLevel level, long behind) {

  /** Behind a leaf that leads elsewhere than to the memory behind its gfns. */
  static final long NOT_ITS_OWN = -1;

  /** Which page table. */
  enum Table {
    MIRROR,
    EXTERNAL,
    DIRECT
  }

  boolean covers(long other) {
    return gfn <= other && other < gfn + level.pages();
  }

  @Override
  public String toString() {
    return "%s gfn 0x%x %s -> %s"
        .formatted(
            table, gfn, level, behind == NOT_ITS_OWN ? "a page not its own" : "frame " + behind);
  }
}
