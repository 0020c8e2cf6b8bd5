package dev.septum.kernel;

import static com.google.common.base.Preconditions.checkArgument;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Deque;
import java.util.EnumMap;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The host's memory, page by page: every 4 KiB page has one {@link PageOwner} at all times.
 *
 * <p>Pages are named by pfn. Memory is used in proportion to the 2 MiB ranges that were ever broken
 * into single pages. Double frees, frees by the wrong owner and frees of pages that never were are
 * the caller's mistake and thrown, with what is remembered of the page. Thread-safe; takes no lock
 * of any {@link LockClass}.
 */
public final class PageAllocator {

  /** No page: what a failed allocation returns. */
  public static final long NO_PAGE = -1;

  /** Pages in a 2 MiB range. */
  public static final int RANGE_PAGES = 512;

  private static final int HISTORY = 4096;

  private static final PageOwner[] OWNERS = PageOwner.values();

  private record Event(long pfn, int pages, PageOwner from, PageOwner to) {
    boolean covers(long other) {
      return other >= pfn && other < pfn + pages;
    }
  }

  /** One 2 MiB range: one owner for all, or one for each page once it is broken up. */
  private static final class Range {
    PageOwner whole = PageOwner.FREE;
    byte @Nullable [] owners;
    int free = RANGE_PAGES;
    @Nullable Object @Nullable [] privates;
  }

  private final LockChecker locks;
  private final SchedulingPoint point;
  private final Range[] ranges;
  private final Placement placement;
  private final Random random;
  private final FaultInjector faults = new FaultInjector();

  /** Ranges wholly free, and broken ranges with at least one free page. */
  private final BitSet wholeFree = new BitSet();

  private final BitSet partlyFree = new BitSet();
  private int scatterCursor;

  private final EnumMap<PageOwner, Long> census = new EnumMap<>(PageOwner.class);
  private final Map<String, Long> objects = new TreeMap<>();
  private final Deque<Event> history = new ArrayDeque<>();

  /**
   * Creates the memory of a host, all of it free.
   *
   * @param bytes its size, a multiple of 2 MiB
   * @param seed used by {@link Placement#SEEDED}
   */
  public PageAllocator(Kernel kernel, long bytes, Placement placement, long seed) {
    checkArgument(
        bytes > 0 && bytes % (RANGE_PAGES * 4096L) == 0,
        "host memory of %s bytes is not a positive multiple of 2 MiB",
        bytes);
    this.locks = kernel.locks();
    this.point = kernel.schedulingPoint("page allocator");
    this.ranges = new Range[Math.toIntExact(bytes / (RANGE_PAGES * 4096L))];
    this.placement = placement;
    this.random = new Random(seed);
    wholeFree.set(0, ranges.length);
    for (PageOwner owner : PageOwner.values()) {
      census.put(owner, 0L);
    }
    census.put(PageOwner.FREE, (long) ranges.length * RANGE_PAGES);
  }

  /** Which allocations fail; places are the owners' tags and the slabs' names. */
  public FaultInjector faults() {
    return faults;
  }

  /** Host memory in 4 KiB pages: pfns are below this. */
  public long totalPages() {
    return (long) ranges.length * RANGE_PAGES;
  }

  /**
   * Takes one 4 KiB page for {@code owner}; {@link #NO_PAGE} when there is none ({@code
   * alloc_page}).
   */
  public long allocPage(PageOwner owner, Gfp gfp) {
    checkTaker(owner, gfp);
    synchronized (this) {
      if (faults.shouldFail(owner.tag())) {
        return NO_PAGE;
      }
      int index = chooseRange();
      if (index < 0) {
        return NO_PAGE;
      }
      Range range = breakUp(index);
      int page = 0;
      byte[] owners = owners(range);
      while (owners[page] != 0) {
        page++;
      }
      setOwner(index, page, PageOwner.FREE, owner);
      return (long) index * RANGE_PAGES + page;
    }
  }

  /** Takes a 2 MiB-aligned folio of 512 pages; its first pfn, or {@link #NO_PAGE}. */
  public long allocFolio(PageOwner owner, Gfp gfp) {
    checkTaker(owner, gfp);
    synchronized (this) {
      if (faults.shouldFail(owner.tag())) {
        return NO_PAGE;
      }
      int index = wholeFree.nextSetBit(0);
      if (index < 0) {
        return NO_PAGE;
      }
      Range range = range(index);
      range.whole = owner;
      range.owners = null;
      range.free = 0;
      wholeFree.clear(index);
      move(PageOwner.FREE, owner, (long) index * RANGE_PAGES, RANGE_PAGES);
      return (long) index * RANGE_PAGES;
    }
  }

  /** Gives one page back; {@code owner} must be who has it ({@code __free_page}). */
  public void freePage(long pfn, PageOwner owner) {
    point.reached(PointKind.FREE);
    changeOwner(pfn, owner, PageOwner.FREE);
  }

  /** Gives the 512 pages of a range back at once, or none: all must belong to {@code owner}. */
  public void freeFolio(long pfn, PageOwner owner) {
    point.reached(PointKind.FREE);
    returnFolio(pfn, owner);
  }

  private synchronized void returnFolio(long pfn, PageOwner owner) {
    checkPfn(pfn);
    if (pfn % RANGE_PAGES != 0) {
      throw new IllegalArgumentException("pfn 0x%x does not start a folio".formatted(pfn));
    }
    int index = (int) (pfn / RANGE_PAGES);
    Range range = range(index);
    int owners = range.owners == null ? 1 : RANGE_PAGES;
    for (int i = 0; i < owners; i++) {
      checkOwner(pfn + i, owner, PageOwner.FREE);
    }
    if (range.owners == null) {
      range.whole = PageOwner.FREE;
      range.free = RANGE_PAGES;
      range.privates = null;
      wholeFree.set(index);
      move(owner, PageOwner.FREE, pfn, RANGE_PAGES);
      return;
    }
    for (int i = 0; i < RANGE_PAGES; i++) {
      changeOwner(pfn + i, owner, PageOwner.FREE);
    }
  }

  /** Hands a page from one owner to the next; {@code from} must be who has it. */
  public synchronized void changeOwner(long pfn, PageOwner from, PageOwner to) {
    checkOwner(pfn, from, to);
    setOwner((int) (pfn / RANGE_PAGES), (int) (pfn % RANGE_PAGES), from, to);
  }

  /** Who has a page. */
  public synchronized PageOwner ownerOf(long pfn) {
    checkPfn(pfn);
    Range range = ranges[(int) (pfn / RANGE_PAGES)];
    if (range == null) {
      return PageOwner.FREE;
    }
    byte[] owners = range.owners;
    return owners == null ? range.whole : OWNERS[owners[(int) (pfn % RANGE_PAGES)]];
  }

  /** Whether all of some pages, which lie in one 2 MiB range, belong to {@code owner}. */
  public synchronized boolean isOwnedBy(PageOwner owner, long pfn, long pages) {
    checkPfn(pfn);
    checkArgument(
        pages > 0 && pfn / RANGE_PAGES == (pfn + pages - 1) / RANGE_PAGES,
        "%s pages from pfn 0x%s are not in one range",
        pages,
        Long.toHexString(pfn));
    Range range = ranges[(int) (pfn / RANGE_PAGES)];
    if (range == null || range.owners == null) {
      return (range == null ? PageOwner.FREE : range.whole) == owner;
    }
    byte[] owners = owners(range);
    for (int i = (int) (pfn % RANGE_PAGES); i < pfn % RANGE_PAGES + pages; i++) {
      if (owners[i] != owner.ordinal()) {
        return false;
      }
    }
    return true;
  }

  /** How many pages each owner has. */
  public synchronized Map<PageOwner, Long> census() {
    return new EnumMap<>(census);
  }

  /** How many pages each owner has; without free pages, and without owners that have none. */
  public synchronized Map<PageOwner, Long> taken() {
    EnumMap<PageOwner, Long> taken = new EnumMap<>(census);
    taken.remove(PageOwner.FREE);
    taken.values().removeIf(count -> count == 0);
    return taken;
  }

  /** Counts every page again, one by one: must equal {@link #census}. */
  public synchronized Map<PageOwner, Long> recount() {
    EnumMap<PageOwner, Long> counts = new EnumMap<>(PageOwner.class);
    for (PageOwner owner : PageOwner.values()) {
      counts.put(owner, 0L);
    }
    for (Range range : ranges) {
      if (range == null || range.owners == null) {
        PageOwner owner = range == null ? PageOwner.FREE : range.whole;
        counts.merge(owner, (long) RANGE_PAGES, Long::sum);
      } else {
        for (byte owner : owners(range)) {
          counts.merge(OWNERS[owner], 1L, Long::sum);
        }
      }
    }
    return counts;
  }

  /** Takes one object of a slab; false when the allocation fails ({@code kmem_cache_alloc}). */
  public boolean allocObject(String slab, Gfp gfp) {
    if (gfp.maySleep()) {
      locks.mightSleep("allocating a " + slab);
    }
    point.reached(PointKind.ALLOCATE);
    synchronized (this) {
      if (faults.shouldFail(slab)) {
        return false;
      }
      objects.merge(slab, 1L, Long::sum);
      return true;
    }
  }

  /** Gives one object of a slab back. */
  public void freeObject(String slab) {
    point.reached(PointKind.FREE);
    returnObject(slab);
  }

  private synchronized void returnObject(String slab) {
    long left = objects.getOrDefault(slab, 0L) - 1;
    if (left < 0) {
      throw new IllegalStateException("more objects of slab " + slab + " freed than taken");
    }
    objects.put(slab, left);
  }

  /** How many objects of each slab are out. */
  public synchronized Map<String, Long> objects() {
    Map<String, Long> out = new TreeMap<>(objects);
    out.values().removeIf(count -> count == 0);
    return out;
  }

  /** Attaches an object to a page ({@code set_page_private}); it goes when the page is freed. */
  public synchronized void setPrivate(long pfn, @Nullable Object value) {
    if (ownerOf(pfn) == PageOwner.FREE) {
      throw new IllegalStateException(
          "pfn 0x%x is free and cannot carry anything; %s".formatted(pfn, historyOf(pfn)));
    }
    Range range = range(Math.toIntExact(pfn / RANGE_PAGES));
    @Nullable Object[] privates = range.privates;
    if (privates == null) {
      privates = new @Nullable Object[RANGE_PAGES];
      range.privates = privates;
    }
    privates[(int) (pfn % RANGE_PAGES)] = value;
  }

  /** What was attached to a page, or null. Reads without a lock, as {@code page_private} does. */
  public @Nullable Object getPrivate(long pfn) {
    Range range = ranges[(int) (pfn / RANGE_PAGES)];
    @Nullable Object[] privates = range == null ? null : range.privates;
    return privates == null ? null : privates[(int) (pfn % RANGE_PAGES)];
  }

  /** What is remembered of a page's owners, newest last. */
  public synchronized String historyOf(long pfn) {
    StringBuilder text = new StringBuilder("history:");
    for (Event event : history) {
      if (event.covers(pfn)) {
        text.append(' ').append(event.from.tag()).append("->").append(event.to.tag());
      }
    }
    return text.toString();
  }

  private void checkTaker(PageOwner owner, Gfp gfp) {
    checkArgument(owner != PageOwner.FREE, "pages cannot be allocated for nobody");
    if (gfp.maySleep()) {
      locks.mightSleep("allocating a page for " + owner.tag());
    }
    point.reached(PointKind.ALLOCATE);
  }

  private void checkPfn(long pfn) {
    if (pfn < 0 || pfn >= totalPages()) {
      throw new IllegalArgumentException("pfn 0x%x is not host memory".formatted(pfn));
    }
  }

  private void checkOwner(long pfn, PageOwner owner, PageOwner next) {
    PageOwner found = ownerOf(pfn);
    if (found != owner || owner == PageOwner.FREE) {
      throw new IllegalStateException(
          "pfn 0x%x belongs to %s, not to %s: it cannot go to %s; %s"
              .formatted(pfn, found.tag(), owner.tag(), next.tag(), historyOf(pfn)));
    }
  }

  private int chooseRange() {
    return switch (placement) {
      case SEQUENTIAL -> {
        int partly = partlyFree.nextSetBit(0);
        yield partly >= 0 ? partly : wholeFree.nextSetBit(0);
      }
      case SCATTERED -> {
        int next = nextWithFree(scatterCursor);
        scatterCursor = next + 1;
        yield next;
      }
      case SEEDED -> nextWithFree(random.nextInt(ranges.length));
    };
  }

  /** The first range at or after {@code from}, wrapping around, with a free page; -1 if none. */
  private int nextWithFree(int from) {
    int whole = wholeFree.nextSetBit(from);
    int partly = partlyFree.nextSetBit(from);
    int next = whole < 0 ? partly : partly < 0 ? whole : Math.min(whole, partly);
    return next >= 0 || from == 0 ? next : nextWithFree(0);
  }

  private Range range(int index) {
    Range range = ranges[index];
    if (range == null) {
      range = new Range();
      ranges[index] = range;
    }
    return range;
  }

  private Range breakUp(int index) {
    Range range = range(index);
    if (range.owners == null) {
      byte[] owners = new byte[RANGE_PAGES];
      Arrays.fill(owners, (byte) range.whole.ordinal());
      range.owners = owners;
      wholeFree.clear(index);
      partlyFree.set(index, range.free > 0);
    }
    return range;
  }

  private static byte[] owners(Range range) {
    byte[] owners = range.owners;
    if (owners == null) {
      throw new IllegalStateException("range is not broken up");
    }
    return owners;
  }

  private void setOwner(int index, int page, PageOwner from, PageOwner to) {
    Range range = breakUp(index);
    owners(range)[page] = (byte) to.ordinal();
    if (to == PageOwner.FREE) {
      range.free++;
      @Nullable Object[] privates = range.privates;
      if (privates != null) {
        privates[page] = null;
      }
    } else if (from == PageOwner.FREE) {
      range.free--;
    }
    if (range.free == RANGE_PAGES) {
      // Whole again, as the buddy allocator merges it.
      ranges[index] = null;
      partlyFree.clear(index);
      wholeFree.set(index);
    } else {
      partlyFree.set(index, range.free > 0);
    }
    move(from, to, (long) index * RANGE_PAGES + page, 1);
  }

  private void move(PageOwner from, PageOwner to, long pfn, int pages) {
    census.merge(from, (long) -pages, Long::sum);
    census.merge(to, (long) pages, Long::sum);
    if (history.size() == HISTORY) {
      history.removeFirst();
    }
    history.addLast(new Event(pfn, pages, from, to));
  }
}
