package dev.septum.mmu;

import dev.septum.kvm.PageLevel;

/**
 * How a VM's MMU is built.
 *
 * @param format the bits of its SPTEs
 * @param rootLevel 512G for 4-level, 256T for 5-level page tables
 * @param nxHugePages the module parameter {@code nx_huge_pages}
 */
public record MmuParams(SpteFormat format, PageLevel rootLevel, boolean nxHugePages) {

  /** A 4-level table of the given format, with executable huge pages. */
  public static MmuParams of(SpteFormat format) {
    return new MmuParams(format, PageLevel.LEVEL_512G, false);
  }
}
