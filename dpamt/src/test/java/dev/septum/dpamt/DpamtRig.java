package dev.septum.dpamt;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A host of 2 GiB with Dynamic PAMT of one shape, and hooks before every lock. */
final class DpamtRig {

  static final long RANGE = 512;
  static final long PFN = 600 * RANGE + 77;
  static final long PFN_RANGE = 600 * RANGE;
  static final long OTHER_RANGE = 601 * RANGE;

  final HookKernel hooks = new HookKernel();
  final PageAllocator pages = new PageAllocator(hooks, 2L << 30, Placement.SEQUENTIAL, 0);
  final FakeModule module = new FakeModule(hooks);
  final Dpamt dpamt;
  private final List<PamtCache> caches = new ArrayList<>();

  DpamtRig(DpamtShape shape) {
    dpamt = Dpamt.enabled(hooks, pages, module, shape);
  }

  PamtCache cacheOf(int count) {
    PamtCache cache = new PamtCache(hooks, pages);
    cache.topup(count, Gfp.KERNEL);
    caches.add(cache);
    return cache;
  }

  PagePair newPair() {
    return new PagePair(
        pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL),
        pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL));
  }

  /** Pages that are in the module, and pages that wait for it. */
  Map<PageOwner, Long> pamtPages() {
    Map<PageOwner, Long> census = pages.census();
    census.keySet().retainAll(List.of(PageOwner.PAMT_PAGE, PageOwner.PAMT_CACHE));
    return census;
  }

  static Map<PageOwner, Long> pamtPages(long inModule, long inCaches) {
    return Map.of(PageOwner.PAMT_PAGE, inModule, PageOwner.PAMT_CACHE, inCaches);
  }

  /** Every counter that is not 0. */
  Map<String, Long> counted() {
    Map<String, Long> all = dpamt.counters().toMap();
    all.values().removeIf(value -> value == 0);
    return all;
  }

  /** All agrees: pages, counts, pairs and counters. */
  void check() {
    DpamtChecker.check(hooks, pages, dpamt, module, caches);
  }
}
