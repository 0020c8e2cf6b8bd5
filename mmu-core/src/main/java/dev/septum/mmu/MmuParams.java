package dev.septum.mmu;

import dev.septum.kvm.PageLevel;

/**
 * How a VM's MMU is built.
 *
 * @param format the bits of its SPTEs
 * @param rootLevel 512G for 4-level, 256T for 5-level page tables
 * @param splitDesign whose decisions about splits the MMU takes
 * @param boundary which huge pages the dirty bits of one word are taken to lie in
 */
public record MmuParams(
    SpteFormat format, PageLevel rootLevel, SplitDesign splitDesign, DirtyLogBoundary boundary) {

  /** A 4-level table of the given format. */
  public static MmuParams of(SpteFormat format) {
    return new MmuParams(
        format, PageLevel.LEVEL_512G, SplitDesign.SOUND, DirtyLogBoundary.ROUNDED_UP);
  }

  /** The same with roots of another level. */
  public MmuParams withRootLevel(PageLevel level) {
    return new MmuParams(format, level, splitDesign, boundary);
  }

  /** The same with another judgement of the boundary. */
  public MmuParams withBoundary(DirtyLogBoundary newBoundary) {
    return new MmuParams(format, rootLevel, splitDesign, newBoundary);
  }

  /** The same with another design of splits. */
  public MmuParams withSplitDesign(SplitDesign design) {
    return new MmuParams(format, rootLevel, design, boundary);
  }
}
