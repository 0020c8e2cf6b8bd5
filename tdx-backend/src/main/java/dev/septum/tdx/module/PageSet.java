package dev.septum.tdx.module;

import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;

/** A set of 4K pages, as one bit set for each 2 MiB region. */
final class PageSet {

  private static final int PAGES = 512;

  private final Map<Long, BitSet> regions = new HashMap<>();

  /** Adds all pages of a page of this level; returns whether none of them was there. */
  boolean add(long hpa, int level) {
    boolean fresh = true;
    long regionsCovered = Math.max(1, SeptEntry.pages(level) / PAGES);
    for (long i = 0; i < regionsCovered; i++) {
      fresh &= addInRegion((hpa >>> 21) + i, (int) (hpa >>> 12) & (PAGES - 1), level);
    }
    return fresh;
  }

  private boolean addInRegion(long region, int first, int level) {
    BitSet pages = regions.computeIfAbsent(region, key -> new BitSet(PAGES));
    int end = level == 0 ? first + 1 : PAGES;
    int taken = pages.nextSetBit(first);
    pages.set(first, end);
    return taken < 0 || taken >= end;
  }
}
