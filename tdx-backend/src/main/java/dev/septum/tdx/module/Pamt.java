package dev.septum.tdx.module;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The physical address metadata table of all TDMRs.
 *
 * <p>Static mode has 4K entries everywhere (made here when first asked for). In dynamic mode they
 * exist where a page pair is attached to the 2M entry, and a bitmap says which pages are PAMT pages
 * or reserved.
 */
final class Pamt {

  private static final long INIT_STEP_STATIC = 4L << 20;
  private static final long INIT_STEP_DYNAMIC = 16L << 20;

  private final Kernel kernel;
  private final boolean dynamic;
  private final ImmutableList<Tdmr> tdmrs;
  private final ConcurrentHashMap<Long, PamtTable> pages = new ConcurrentHashMap<>();

  /** The PAMT of TDMRs that are configured, but not initialised. */
  Pamt(Kernel kernel, boolean dynamic, List<TdmrInfo> infos) {
    this.kernel = kernel;
    this.dynamic = dynamic;
    tdmrs = infos.stream().map(this::tdmr).collect(ImmutableList.toImmutableList());
  }

  boolean isDynamic() {
    return dynamic;
  }

  ImmutableList<Tdmr> tdmrs() {
    return tdmrs;
  }

  /** Whether {@code hpa} is in a GiB of a TDMR that is initialised. */
  boolean covers(long hpa) {
    for (int i = 0; i < tdmrs.size(); i++) {
      if (tdmrs.get(i).covers(hpa)) {
        return true;
      }
    }
    return false;
  }

  /** The TDMR that {@code hpa} is in. */
  Tdmr tdmrOf(long hpa) {
    for (int i = 0; i < tdmrs.size(); i++) {
      if (tdmrs.get(i).range().contains(hpa)) {
        return tdmrs.get(i);
      }
    }
    throw new IllegalStateException("no TDMR has HPA 0x" + Long.toHexString(hpa));
  }

  /** One SYS.TDMR.INIT: initialises the next entries. Under the TDMR's lock. */
  void initializeNext(Tdmr tdmr) {
    long from = tdmr.initializedTo();
    long to = from + (dynamic ? INIT_STEP_DYNAMIC : INIT_STEP_STATIC);
    for (PhysicalRange area : tdmr.reservedWithin(from, to)) {
      for (long hpa = area.base(); hpa < area.end(); hpa += SeptEntry.bytes(0)) {
        reserve(tdmr, hpa);
      }
    }
    tdmr.initializeTo(to);
  }

  PageBitmap bitmap(long hpa) {
    return tdmrOf(hpa).bitmap();
  }

  /** Which pages have contents that a guest may see: measured, cleared or copied from such. */
  PageBitmap contents(long hpa) {
    return tdmrOf(hpa).contents();
  }

  /** The entry of a page at a level; a 4K one must exist. */
  PamtEntry entry(long hpa, int level) {
    return switch (level) {
      case 2 -> tdmrOf(hpa).gibEntry(hpa);
      case 1 -> tdmrOf(hpa).regionEntry(hpa);
      default -> pageEntries(hpa).entry((int) (hpa >>> 12) & (EntryTable.ENTRIES - 1), 0);
    };
  }

  /** Whether the page has an entry of this level: always, but for 4K in dynamic mode. */
  boolean hasEntry(long hpa, int level) {
    return covers(hpa) && (level > 0 || !dynamic || pagesOf(hpa) != null);
  }

  /** The 4K entries of the 2 MiB region, if there are any. */
  @Nullable PamtTable pagesOf(long hpa) {
    return pages.get(hpa >>> 21);
  }

  /** Whether no 2M entry of this GiB was ever written, so that all of them are free. */
  boolean isUntouched(long gib) {
    PamtTable table = tdmrOf(gib).regionsOf(gib);
    return table.first().isUniform() && table.entry(0, 1).isFree();
  }

  /** Whether {@code entry} is where a walk to {@code target} ends. */
  boolean isWalkOver(PamtEntry entry, int target) {
    if (entry.level() == target) {
      return true;
    }
    return (dynamic && entry.level() == 1) ? !entry.isNode() : !entry.isFree();
  }

  /**
   * Whether the 2 MiB region, whose 2M entry is free, has no page in use. The caller holds the 2M
   * entry exclusively.
   */
  boolean isRangeFree(long hpa) {
    if (dynamic) {
      return bitmap(hpa).count(hpa) == 0;
    }
    PamtTable table = pagesOf(hpa);
    return table == null || table.isFree();
  }

  /** Whether the page is a PAMT page, or reserved in dynamic mode. */
  boolean isPamtPage(long hpa) {
    return dynamic && bitmap(hpa).isSet(hpa);
  }

  /** Takes a free page into use. */
  void assign(PamtEntry leaf, long hpa, PageType type, long owner) {
    if (type == PageType.REG) {
      forgetContents(hpa, leaf.level());
    }
    leaf.assign(type, owner);
    if (dynamic && leaf.level() == 0) {
      entry(hpa, 1).addPages(1);
    }
  }

  /** Frees a page; returns whether it was the last 4K page that needed its page pair. */
  boolean free(PamtEntry leaf, long hpa) {
    // A PAMT.REMOVE may look on, since an implicit access has no lock on the 2M entry: while it
    // finds the page in use it leaves the pair alone, so the count goes down first.
    boolean isLast = dynamic && leaf.level() == 0 && entry(hpa, 1).addPages(-1) == 0;
    leaf.free();
    return isLast;
  }

  /** PAMT.ADD: gives the region a page pair, all free. Under the exclusive 2M entry. */
  void attachPair(PamtEntry node, long hpa, long page0, long page1) {
    pages.put(hpa >>> 21, PamtTable.free(kernel));
    node.attachPair(page0, page1, 0);
  }

  /** PAMT.REMOVE: takes the page pair away. Under the exclusive 2M entry. */
  void detachPair(PamtEntry node, long hpa) {
    unmarkPair(node);
    node.free();
    pages.remove(hpa >>> 21);
  }

  /** DEMOTE of a 2M page in dynamic mode: its 4K entries go to the given pair, all in use. */
  void splitIntoPair(PamtEntry large, long hpa, long page0, long page1) {
    pages.put(hpa >>> 21, PamtTable.assigned(kernel, large.type(), large.owner()));
    large.attachPair(page0, page1, EntryTable.ENTRIES);
  }

  /** DEMOTE of a 2M page in static mode, or of a 1G page: the entries below take over. */
  void splitInPlace(PamtEntry large, long hpa) {
    PamtTable below = PamtTable.assigned(kernel, large.type(), large.owner());
    if (large.level() == 1) {
      pages.put(hpa >>> 21, below);
    } else {
      tdmrOf(hpa).replaceRegions(hpa, below);
    }
    large.free();
  }

  /** PROMOTE to a 2M page in dynamic mode: the pair, which is the host's again, goes away. */
  void mergeFromPair(PamtEntry node, long hpa, long owner) {
    unmarkPair(node);
    node.assign(PageType.REG, owner);
    pages.remove(hpa >>> 21);
  }

  /** PROMOTE to a 2M page in static mode, or to a 1G page: the entries below are free again. */
  void mergeInPlace(PamtEntry large, long hpa, long owner) {
    if (large.level() == 1) {
      pages.remove(hpa >>> 21);
    } else {
      tdmrOf(hpa).replaceRegions(hpa, PamtTable.free(kernel));
    }
    large.assignKeepingEpoch(PageType.REG, owner);
  }

  private void forgetContents(long hpa, int level) {
    if (level == 0) {
      contents(hpa).clear(hpa);
    } else {
      contents(hpa).clearRegion(hpa);
    }
  }

  private void unmarkPair(PamtEntry node) {
    bitmap(node.pairPage(0)).clear(node.pairPage(0));
    bitmap(node.pairPage(1)).clear(node.pairPage(1));
  }

  private void reserve(Tdmr tdmr, long hpa) {
    if (dynamic) {
      tdmr.bitmap().trySet(hpa);
    } else {
      entry(hpa, 0).assign(PageType.RSVD, 0);
    }
  }

  private Tdmr tdmr(TdmrInfo info) {
    List<PhysicalRange> reserved =
        IntStream.range(0, info.reserved().size()).mapToObj(info::reservedArea).toList();
    return new Tdmr(kernel, info.range(), reserved);
  }

  private PamtTable pageEntries(long hpa) {
    PamtTable table = pages.get(hpa >>> 21);
    if (table == null && !dynamic) {
      table = pages.computeIfAbsent(hpa >>> 21, region -> PamtTable.free(kernel));
    }
    if (table == null) {
      throw new IllegalStateException("no page pair covers HPA 0x" + Long.toHexString(hpa));
    }
    return table;
  }
}
