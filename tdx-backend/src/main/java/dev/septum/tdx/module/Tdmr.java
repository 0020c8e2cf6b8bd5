package dev.septum.tdx.module;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;
import java.util.List;

/**
 * One TDMR: its 1G and 2M entries, its bitmap in dynamic mode, and how far SYS.TDMR.INIT has come.
 * Only GiB blocks that are initialised to their end count as covered.
 */
final class Tdmr {

  private static final long GIB = 1L << 30;

  private final PhysicalRange range;
  private final ImmutableList<PhysicalRange> reserved;
  private final PamtTable[] gibs;
  private final PamtTable[] regions;
  private final PageBitmap bitmap;
  private final PageBitmap contents;
  private final SharexLock lock;
  private final SharedWord initializedTo;

  Tdmr(Kernel kernel, PhysicalRange range, List<PhysicalRange> reserved) {
    this.range = range;
    this.reserved = ImmutableList.copyOf(reserved);
    bitmap = PageBitmap.clear(kernel, range);
    contents = PageBitmap.clear(kernel, range);
    gibs = freeTables(kernel, (range.bytes() + 512 * GIB - 1) >>> 39);
    regions = freeTables(kernel, range.bytes() >>> 30);
    lock = new SharexLock(kernel);
    initializedTo = kernel.word(range.base()).named("TDMR initialized to");
  }

  PhysicalRange range() {
    return range;
  }

  /** The reserved areas, where they are in memory. */
  ImmutableList<PhysicalRange> reserved() {
    return reserved;
  }

  /** Dynamic mode: which pages are PAMT pages or reserved. */
  PageBitmap bitmap() {
    return bitmap;
  }

  /** Which pages have contents that a guest may see. */
  PageBitmap contents() {
    return contents;
  }

  /** The lock of SYS.TDMR.INIT. */
  SharexLock lock() {
    return lock;
  }

  /** The first address whose PAMT is not initialised. */
  long initializedTo() {
    return initializedTo.get();
  }

  /** SYS.TDMR.INIT came to {@code hpa}. Under {@link #lock}. */
  void initializeTo(long hpa) {
    initializedTo.set(hpa);
  }

  /** The end of what is covered. */
  long coveredTo() {
    return initializedTo.get() & -GIB;
  }

  /** Whether {@code hpa} is in a GiB that is initialised. */
  boolean covers(long hpa) {
    return hpa >= range.base() && hpa < coveredTo();
  }

  PamtEntry gibEntry(long hpa) {
    long offset = hpa - range.base();
    return gibs[(int) (offset >>> 39)].entry((int) (offset >>> 30) & 511, 2);
  }

  PamtEntry regionEntry(long hpa) {
    return regionsOf(hpa).entry((int) (hpa >>> 21) & 511, 1);
  }

  /** The 2M entries of the GiB. */
  PamtTable regionsOf(long hpa) {
    return regions[gib(hpa)];
  }

  /** Replaces all 2M entries of the GiB. Under the exclusive 1G entry. */
  void replaceRegions(long hpa, PamtTable table) {
    regions[gib(hpa)] = table;
  }

  /** The part of [from, to) that is reserved. */
  List<PhysicalRange> reservedWithin(long from, long to) {
    return reserved.stream()
        .map(area -> cut(area, from, to))
        .filter(area -> area.bytes() > 0)
        .toList();
  }

  private int gib(long hpa) {
    return (int) ((hpa - range.base()) >>> 30);
  }

  private static PhysicalRange cut(PhysicalRange area, long from, long to) {
    long base = Math.max(area.base(), from);
    return new PhysicalRange(base, Math.min(area.end(), to) - base);
  }

  private static PamtTable[] freeTables(Kernel kernel, long count) {
    PamtTable[] tables = new PamtTable[(int) count];
    for (int i = 0; i < count; i++) {
      tables[i] = PamtTable.free(kernel);
    }
    return tables;
  }
}
