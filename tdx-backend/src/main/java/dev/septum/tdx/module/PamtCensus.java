package dev.septum.tdx.module;

import com.google.errorprone.annotations.FormatMethod;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** How many pages of which type each TD owns, and what is wrong with the PAMT. */
final class PamtCensus {

  private final ModuleState state;
  private final Pamt pamt;
  private final List<String> violations;
  private final Map<Long, Map<PageType, Long>> owned = new HashMap<>();
  private final Set<Long> pairPages = new HashSet<>();

  private PamtCensus(ModuleState state, List<String> violations) {
    this.state = state;
    this.violations = violations;
    pamt = state.pamt();
  }

  static PamtCensus take(ModuleState state, List<String> violations) {
    PamtCensus census = new PamtCensus(state, violations);
    PamtScan scan = PamtScan.of(census.pamt);
    scan.forEachGib(census::checkGib);
    scan.forEachRegion(census::checkRegion);
    scan.forEachNode(census::checkNode);
    scan.forEachLeafInUse(census::visitLeaf);
    if (state.vcpus.values().stream().noneMatch(TdVcpu::isRunning)) {
      scan.forEachEntry(census::checkUnlocked);
    }
    census.checkBitmap();
    return census;
  }

  /** All 4K pages that the TD owns. */
  long pagesOwnedBy(long tdr) {
    return owned(tdr).values().stream().mapToLong(Long::longValue).sum();
  }

  /** The TD's private memory in 4K pages. */
  long privatePagesOf(long tdr) {
    return owned(tdr).getOrDefault(PageType.REG, 0L);
  }

  /** The TD's S-EPT pages, without the root. */
  long tablesOf(long tdr) {
    return owned(tdr).getOrDefault(PageType.EPT, 0L);
  }

  /** I2, for 1G entries. */
  private void checkGib(long gib, PamtEntry entry) {
    if (!entry.isFree()) {
      PamtScan.of(pamt)
          .forEachRegionOf(
              gib,
              (region, below) -> {
                if (!below.isFree()) {
                  report("I2: below the 1G page at %x a 2M entry is in use", gib);
                }
              });
    }
  }

  /** I2 and I11. */
  private void checkRegion(long region, PamtEntry entry) {
    PamtTable pages = pamt.pagesOf(region);
    if (pamt.isDynamic()) {
      if (entry.isNode() != (pages != null)) {
        report("I2: 4K entries and page pair of the region at %x do not agree", region);
      }
      if (!entry.isFree() && !entry.isNode() && pamt.bitmap(region).count(region) != 0) {
        report("I11: the 2M page at %x has PAMT pages inside", region);
      }
    } else if (!entry.isFree() && pages != null && !pages.isFree()) {
      report("I2: below the 2M page at %x a 4K entry is in use", region);
    }
  }

  /** I9, and I10 for the pages of one pair. */
  private void checkNode(long region, PamtEntry node) {
    PamtTable pages = pamt.pagesOf(region);
    if (pages != null && pages.assignedEntries() != node.pageCount()) {
      report(
          "I9: %d pages of the region at %x are in use, PAGE_COUNT is %d",
          pages.assignedEntries(), region, node.pageCount());
    }
    for (int page = 0; page < 2; page++) {
      long hpa = node.pairPage(page);
      if (!pairPages.add(hpa)) {
        report("I10: the PAMT page at %x serves twice", hpa);
      }
      if (!pamt.covers(hpa) || !pamt.isPamtPage(hpa)) {
        report("I10: the PAMT page at %x has no bit in the bitmap", hpa);
      }
    }
  }

  /** I10: each bit of the bitmap belongs to a page of a pair. */
  private void checkBitmap() {
    if (!pamt.isDynamic()) {
      return;
    }
    long bits = 0;
    long reserved = 0;
    for (Tdmr tdmr : pamt.tdmrs()) {
      PhysicalRange range = tdmr.range();
      for (long region = range.base(); region < range.end(); region += SeptEntry.bytes(1)) {
        bits += tdmr.bitmap().count(region);
      }
      reserved += reservedPages(tdmr);
    }
    if (bits != pairPages.size() + reserved) {
      report(
          "I10: the bitmap has %d PAMT pages, the page pairs have %d",
          bits - reserved, pairPages.size());
    }
  }

  private static long reservedPages(Tdmr tdmr) {
    return tdmr.reservedWithin(tdmr.range().base(), tdmr.initializedTo()).stream()
        .mapToLong(area -> area.bytes() >>> 12)
        .sum();
  }

  /** I1 and I3 for a leaf in use. */
  private void visitLeaf(long hpa, PamtEntry leaf) {
    if (leaf.level() == 0 && pamt.isPamtPage(hpa)) {
      report("I1: the page at %x is in use and a PAMT page", hpa);
    }
    if (leaf.type().isOwned()) {
      owned
          .computeIfAbsent(leaf.owner(), tdr -> new EnumMap<>(PageType.class))
          .merge(leaf.type(), SeptEntry.pages(leaf.level()), Long::sum);
      if (!isTdr(leaf.owner())) {
        report("I3: the owner of the %s page at %x is no TDR", leaf.type(), hpa);
      }
    }
  }

  /** I15. A vCPU inside keeps locks on its TDVPR and TDR: then this is not asked. */
  private void checkUnlocked(long hpa, PamtEntry entry) {
    if (entry.isHeld()) {
      report("I15: the level %d PAMT entry at %x is locked between calls", entry.level(), hpa);
    }
  }

  private boolean isTdr(long hpa) {
    return pamt.covers(hpa)
        && pamt.hasEntry(hpa, 0)
        && pamt.entry(hpa, 0).type() == PageType.TDR
        && state.tds.containsKey(hpa);
  }

  private Map<PageType, Long> owned(long tdr) {
    return owned.getOrDefault(tdr, Map.of());
  }

  @FormatMethod
  private void report(String format, Object... arguments) {
    violations.add(String.format(format, arguments));
  }
}
