package dev.septum.tdx.vmm;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;

/**
 * What a VMM builds a TD from. Addresses are bytes.
 *
 * @param memory memory, each region a slot of its own
 * @param firmware what is measured into the TD before it runs; inside one of the regions
 * @param vcpus vCPUs
 * @param mapGpaMaxLen bytes in one piece of a MapGPA
 * @param septVeDisable whether touching memory that is not accepted kills the TD instead of raising
 *     a #VE
 * @param folioLevel 2M to back private memory with huge folios, 4K with single pages
 * @param gpaw whether GPAs have 52 bits, and page tables five levels
 */
public record TdLayout(
    ImmutableList<Region> memory,
    Region firmware,
    int vcpus,
    long mapGpaMaxLen,
    boolean septVeDisable,
    PageLevel folioLevel,
    boolean gpaw) {

  /** A TD with 48-bit GPAs. */
  public TdLayout(
      ImmutableList<Region> memory,
      Region firmware,
      int vcpus,
      long mapGpaMaxLen,
      boolean septVeDisable,
      PageLevel folioLevel) {
    this(memory, firmware, vcpus, mapGpaMaxLen, septVeDisable, folioLevel, false);
  }

  /** The same with 48-bit or 52-bit GPAs. */
  public TdLayout withGpaw(boolean newGpaw) {
    return new TdLayout(memory, firmware, vcpus, mapGpaMaxLen, septVeDisable, folioLevel, newGpaw);
  }

  /** Guest memory from {@code start} up to {@code end}. */
  public record Region(long start, long end) {
    /** Frames in the region. */
    public long frames() {
      return (end - start) >>> 12;
    }
  }
}
