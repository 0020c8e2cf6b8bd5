package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.dpamt.Dpamt;
import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.tdx.TdxCounter;
import java.util.stream.LongStream;

/** D7: a get that finds the pair installed after all frees the pair that the cache gave it. */
final class LostRaceBurnsPair implements Demonstration {

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.scattered();
    Dpamt dpamt = bench.dpamt();
    bench.acceptLeaf();
    lab.protocol()
        .step("another TD's page gets a pair for the range of the new S-EPT page, just before it");
    long[] neighbour = new long[1];
    bench
        .kernel()
        .before(
            LockClass.PAMT_LOCK,
            () -> {
              neighbour[0] = unbackedSeptPage(bench) + 1;
              bench.asAnotherThread(() -> dpamt.get(neighbour[0]));
            });
    bench.share(GFN + 0x10, GFN + 0x11);
    long in = bench.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN);
    long left = bench.kvm().splitCacheCount();
    long used = Dpamt.PAGES_PER_PAIR * dpamt.counters().get(PamtCounter.PAIRS_DEMOTED);
    lab.protocol().observed("of %d cached pages the split used %d, %d are left", in, used, left);
    lab.protocol()
        .partedIf(
            in != used + left, "%d pages were drawn, used by nobody and freed", in - used - left);
    dpamt.put(neighbour[0]);
  }

  /** The page for the S-EPT table of the split in progress. */
  private static long unbackedSeptPage(Bench bench) {
    return LongStream.range(0, bench.pages().totalPages())
        .filter(pfn -> bench.pages().ownerOf(pfn) == PageOwner.EXTERNAL_PAGE_TABLE)
        .filter(pfn -> bench.dpamt().refcount(pfn) == 0)
        .max()
        .orElseThrow();
  }
}
