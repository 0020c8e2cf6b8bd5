package dev.septum.dpamt;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import java.util.List;

/** Checks the whole of a quiet {@link Dpamt}: pages, counts, pairs and counters agree. */
final class DpamtChecker {

  private DpamtChecker() {}

  static void check(
      Kernel kernel, PageAllocator pages, Dpamt dpamt, FakeModule module, List<PamtCache> caches) {
    assertThat(pages.recount()).as("pages one by one").isEqualTo(pages.census());
    assertThat(dpamt.refcounts().keySet())
        .as("ranges with a refcount are those with a pair")
        .isEqualTo(module.pairs().keySet());
    assertThat(dpamt.refcounts().values()).as("refcounts").allMatch(count -> count > 0);
    assertThat(dpamt.pairsInstalled())
        .as("pairs installed")
        .isEqualTo(module.pairs().size())
        .isLessThanOrEqualTo(dpamt.pairsPeak());
    checkOwners(pages, module, caches);
    checkCounters(dpamt);
    kernel.locks().assertNoneHeld("the end of the test");
  }

  private static void checkOwners(PageAllocator pages, FakeModule module, List<PamtCache> caches) {
    for (PagePair pair : module.pairs().values()) {
      assertThat(List.of(pages.ownerOf(pair.first()), pages.ownerOf(pair.second())))
          .as("owners of installed pair %s", pair)
          .containsOnly(PageOwner.PAMT_PAGE);
    }
    assertThat(pages.census().get(PageOwner.PAMT_PAGE))
        .as("pages that the module has")
        .isEqualTo(2L * module.pairs().size());
    assertThat(pages.census().get(PageOwner.PAMT_CACHE))
        .as("pages in caches")
        .isEqualTo(caches.stream().mapToLong(PamtCache::count).sum());
  }

  private static void checkCounters(Dpamt dpamt) {
    assertThat(
            count(dpamt, PamtCounter.PAIRS_ADDED)
                + count(dpamt, PamtCounter.PAIRS_DEMOTED)
                - count(dpamt, PamtCounter.PAIRS_REMOVED))
        .as("pairs that came less pairs that went")
        .isEqualTo(dpamt.pairsInstalled());
    assertThat(
            count(dpamt, PamtCounter.PAIRS_ADDED)
                + count(dpamt, PamtCounter.LOST_RACES)
                + count(dpamt, PamtCounter.PAIRS_RESCUED)
                + count(dpamt, PamtCounter.PAIR_SHORTAGES)
                + count(dpamt, PamtCounter.ADD_FAILURES))
        .as("ends of slow gets")
        .isEqualTo(count(dpamt, PamtCounter.SLOW_GETS));
  }

  private static long count(Dpamt dpamt, PamtCounter counter) {
    return dpamt.counters().get(counter);
  }
}
