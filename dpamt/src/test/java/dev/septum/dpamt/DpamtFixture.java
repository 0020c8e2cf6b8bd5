package dev.septum.dpamt;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** A host of 3 GiB and a bit, with Dynamic PAMT; its whole state is checked after every test. */
abstract class DpamtFixture {

  static final int HOST_RANGES = 3 * 512 + 1;
  static final long RANGE = 512;

  /** Where tests use pages of the module; the allocator hands out pages far below. */
  static final long PFN = 600 * RANGE + 77;

  static final long OTHER_PFN = 601 * RANGE;

  final Kernel kernel = Kernel.host();
  final PageAllocator pages =
      new PageAllocator(kernel, HOST_RANGES * RANGE * 4096, Placement.SEQUENTIAL, 0);
  final FakeModule module = new FakeModule(kernel);
  final Dpamt dpamt = Dpamt.enabled(kernel, pages, module);
  private final List<PamtCache> caches = new ArrayList<>();

  /** Everything that a failure must leave as it was. */
  record State(
      Map<PageOwner, Long> census,
      Map<Long, Long> refcounts,
      Map<Long, PagePair> pairs,
      List<Integer> cached,
      long installed) {}

  @BeforeEach
  final void forgetLogLines() {
    RecordingLog.LINES.clear();
  }

  @AfterEach
  final void checkWholeState() {
    DpamtChecker.check(kernel, pages, dpamt, module, caches);
  }

  final State state() {
    return new State(
        pages.census(),
        dpamt.refcounts(),
        ImmutableMap.copyOf(module.pairs()),
        caches.stream().map(PamtCache::count).toList(),
        dpamt.pairsInstalled());
  }

  final PamtCache cacheOf(int count) {
    PamtCache cache = new PamtCache(kernel, pages);
    assertThat(cache.topup(count, Gfp.KERNEL)).isEqualTo(Errno.OK);
    caches.add(cache);
    return cache;
  }

  /** A pair as a backend takes it out of its cache for a DEMOTE. */
  final PagePair newPair() {
    return new PagePair(
        pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL),
        pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL));
  }

  final void free(PagePair pair) {
    pages.freePage(pair.first(), PageOwner.PAMT_CACHE);
    pages.freePage(pair.second(), PageOwner.PAMT_CACHE);
  }

  /** Takes a pair that must be there. */
  static PagePair popPair(PamtCache cache) {
    return requireNonNull(cache.popPair());
  }

  /** The pair on top of a cache. */
  static PagePair peek(PamtCache cache) {
    PagePair pair = popPair(cache);
    cache.push(pair);
    return pair;
  }

  final long count(PamtCounter counter) {
    return dpamt.counters().get(counter);
  }

  /** Waits until {@code counter} is {@code value}: a thread is past the place that counts it. */
  final void awaitCount(PamtCounter counter, long value) {
    Gate.awaitUntil(() -> count(counter) == value, counter + " to be " + value);
  }

  /** Every counter that is not 0. */
  final Map<String, Long> counted() {
    Map<String, Long> all = dpamt.counters().toMap();
    all.values().removeIf(value -> value == 0);
    return all;
  }
}
