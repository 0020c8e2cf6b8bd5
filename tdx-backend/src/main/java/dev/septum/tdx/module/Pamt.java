package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Kernel;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The physical address metadata table of the one TDMR that covers all memory.
 *
 * <p>Static mode has 4K entries everywhere (made here when first asked for). In dynamic mode they
 * exist where a page pair is attached to the 2M entry, and a bitmap says which pages are PAMT
 * pages.
 */
final class Pamt {

  private static final long GIB = 1L << 30;

  private final Kernel kernel;
  private final boolean dynamic;
  private final long bytes;
  private final PamtTable[] gibs;
  private final PamtTable[] regions;
  private final ConcurrentHashMap<Long, PamtTable> pages = new ConcurrentHashMap<>();
  private final PageBitmap bitmap;

  Pamt(Kernel kernel, boolean dynamic, long memoryBytes) {
    this.kernel = kernel;
    this.dynamic = dynamic;
    bytes = (memoryBytes + GIB - 1) & -GIB;
    gibs = freeTables((int) ((bytes + 512 * GIB - 1) >>> 39));
    regions = freeTables((int) (bytes >>> 30));
    bitmap = new PageBitmap(kernel, dynamic ? bytes : 0);
  }

  boolean isDynamic() {
    return dynamic;
  }

  /** The TDMR's size. */
  long bytes() {
    return bytes;
  }

  PageBitmap bitmap() {
    return bitmap;
  }

  /** Whether {@code hpa} is inside the TDMR. */
  boolean covers(long hpa) {
    return hpa >= 0 && hpa < bytes;
  }

  /** The entry of a page at a level; a 4K one must exist. */
  PamtEntry entry(long hpa, int level) {
    int index = (int) (hpa >>> (12 + 9 * level)) & (EntryTable.ENTRIES - 1);
    return switch (level) {
      case 2 -> gibs[(int) (hpa >>> 39)].entry(index, 2);
      case 1 -> regions[(int) (hpa >>> 30)].entry(index, 1);
      default -> pageEntries(hpa).entry(index, 0);
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

  /** Whether no page of this GiB was ever walked to, so that all of its entries are free. */
  boolean isUntouched(long gib) {
    PamtTable table = regions[(int) (gib >>> 30)];
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
      return bitmap.count(hpa) == 0;
    }
    PamtTable table = pagesOf(hpa);
    return table == null || table.isFree();
  }

  /** Whether the page is a PAMT page. */
  boolean isPamtPage(long hpa) {
    return dynamic && bitmap.isSet(hpa);
  }

  /** Takes a free page into use. */
  void assign(PamtEntry leaf, long hpa, PageType type, long owner) {
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
    bitmap.clear(node.pairPage(0));
    bitmap.clear(node.pairPage(1));
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
      regions[(int) (hpa >>> 30)] = below;
    }
    large.free();
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

  private PamtTable[] freeTables(int count) {
    PamtTable[] tables = new PamtTable[count];
    for (int i = 0; i < count; i++) {
      tables[i] = PamtTable.free(kernel);
    }
    return tables;
  }
}
