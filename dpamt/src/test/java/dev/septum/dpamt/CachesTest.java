package dev.septum.dpamt;

import static dev.septum.kernel.PageAllocator.NO_PAGE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Errno;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The caches of the versions of the series: sizes, what is in them, and what a shortage does. */
class CachesTest extends DpamtFixture {

  private final ControlPages tdPages = new ControlPages(dpamt, pages, PageOwner.TD_CONTROL);
  private final BackedPageCache septPages =
      new BackedPageCache(new ControlPages(dpamt, pages, PageOwner.EXTERNAL_PAGE_TABLE));

  @ParameterizedTest
  @CsvSource({
    "V4_FAULT, 15, 5",
    "V3_SPLIT, 4, 0",
    "V5_FAULT, 10, 0",
    "V5_SPLIT, 2, 0",
    "ALTERNATIVE_FAULT, 12, 0",
    "ALTERNATIVE_SPLIT, 4, 0",
    "V6_FAULT, 10, 0"
  })
  void cacheSize_isThatOfTheSeries(CacheSize size, int enabled, int disabled) {
    assertThat(size.pages(dpamt)).isEqualTo(enabled);
    assertThat(size.pages(Dpamt.disabled(kernel, pages))).isEqualTo(disabled);
  }

  // Control pages.

  @Test
  void controlPage_hasItsPamtUntilItIsFreed() {
    State before = state();

    long page = tdPages.alloc();

    assertThat(pages.ownerOf(page)).isEqualTo(PageOwner.TD_CONTROL);
    assertThat(dpamt.refcount(page)).isEqualTo(1);
    tdPages.free(page);
    assertThat(state()).isEqualTo(before);
  }

  @ParameterizedTest
  @CsvSource({"td_control, 1", "pamt_cache, 1", "pamt_cache, 2"})
  void controlPage_withoutPageOrPamt_isNoneAndChangesNothing(String place, int which) {
    pages.faults().failNext(place, which);
    State before = state();

    assertThat(tdPages.alloc()).isEqualTo(NO_PAGE);

    assertThat(state()).isEqualTo(before);
  }

  @Test
  void controlPage_pamtRefused_isNoneAndChangesNothing() {
    module.failNextAdd(PamtAddStatus.FAILED);
    State before = state();

    assertThat(tdPages.alloc()).isEqualTo(NO_PAGE);

    assertThat(state()).isEqualTo(before);
  }

  // S-EPT pages of v5.

  @Test
  void backedCache_toppedUp_fillsToItsCapacityWithPagesThatHaveTheirPamt() {
    State before = state();
    assertThat(septPages.topup(5)).isEqualTo(Errno.OK);

    // All in one range, which therefore needs one pair.
    assertThat(septPages.count()).isEqualTo(40);
    assertThat(dpamt.refcounts()).isEqualTo(Map.of(0L, 40L));
    assertThat(pages.census())
        .containsEntry(PageOwner.EXTERNAL_PAGE_TABLE, 40L)
        .containsEntry(PageOwner.PAMT_PAGE, 2L);
    septPages.freeAll();
    assertThat(septPages.count()).isZero();
    assertThat(state()).isEqualTo(before);
  }

  @Test
  void backedCache_withEnough_isLeftAlone() {
    septPages.topup(1);
    for (int left = 40; left > 5; left--) {
      assertThat(pages.ownerOf(septPages.pop())).isEqualTo(PageOwner.EXTERNAL_PAGE_TABLE);
    }

    assertThat(septPages.topup(5)).isEqualTo(Errno.OK);
    assertThat(septPages.count()).isEqualTo(5);
    assertThat(septPages.topup(6)).isEqualTo(Errno.OK);
    assertThat(septPages.count()).isEqualTo(40);
    septPages.freeAll();
  }

  @ParameterizedTest
  @CsvSource({"5, ENOMEM", "6, OK"})
  void backedCache_pagesRunOut_failsOnlyBelowTheMinimum(int nth, Errno expected) {
    pages.faults().failNext("external_page_table", nth);

    assertThat(septPages.topup(5)).isEqualTo(expected);

    assertThat(septPages.count()).isEqualTo(nth - 1);
    septPages.freeAll();
  }

  @Test
  void backedCache_empty_hasNoPage() {
    assertThat(septPages.pop()).isEqualTo(NO_PAGE);
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 41})
  void backedCache_askedForWhatItCannotHold_isTheCallersMistake(int min) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> septPages.topup(min))
        .withMessage("a cache of 40 holds no " + min + " pages");
  }

  @Test
  void backedCache_ofTheLargestMinimum_isFilled() {
    assertThat(septPages.topup(40)).isEqualTo(Errno.OK);
    assertThat(septPages.topup(0)).isEqualTo(Errno.OK);
    assertThat(septPages.count()).isEqualTo(40);
    septPages.freeAll();
  }

  // The mixed cache of v4.

  @Test
  void mixedCache_givesSeptPagesAndPairsFromOneStack() {
    MixedCache cache = new MixedCache(kernel, pages);
    assertThat(cache.topup(dpamt, 5)).isEqualTo(Errno.OK);
    assertThat(cache.pamtPages().count()).isEqualTo(15).isEqualTo(CacheSize.V4_FAULT.pages(dpamt));

    long sept = cache.allocSeptPage();
    assertThat(dpamt.get(PFN, cache.pamtPages())).isEqualTo(Errno.OK);

    assertThat(pages.ownerOf(sept)).isEqualTo(PageOwner.EXTERNAL_PAGE_TABLE);
    assertThat(cache.pamtPages().count()).isEqualTo(12);
    assertThat(pages.census())
        .containsEntry(PageOwner.EXTERNAL_PAGE_TABLE, 1L)
        .containsEntry(PageOwner.PAMT_PAGE, 2L)
        .containsEntry(PageOwner.PAMT_CACHE, 12L);
    pages.freePage(sept, PageOwner.EXTERNAL_PAGE_TABLE);
    cache.freeAll();
    assertThat(cache.pamtPages().count()).isZero();
  }

  @Test
  void mixedCache_pagesRunOut_isEnomemAndKeepsWhatItGot() {
    MixedCache cache = new MixedCache(kernel, pages);
    pages.faults().failNext("pamt_cache", 8);

    assertThat(cache.topup(dpamt, 5)).isEqualTo(Errno.ENOMEM);

    assertThat(cache.pamtPages().count()).isEqualTo(7);
    cache.freeAll();
  }

  @Test
  void mixedCache_empty_takesSeptPagesFromTheReserveUnderALockAndWarnsOnce() {
    MixedCache cache = new MixedCache(kernel, pages);
    SpinLock lock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    lock.lock();

    long first = cache.allocSeptPage();
    long second = cache.allocSeptPage();

    lock.unlock();
    assertThat(pages.ownerOf(first)).isEqualTo(PageOwner.EXTERNAL_PAGE_TABLE);
    assertThat(RecordingLog.LINES)
        .containsExactly("WARN no page waits for a new S-EPT page: the topup was too small");
    pages.freePage(first, PageOwner.EXTERNAL_PAGE_TABLE);
    pages.freePage(second, PageOwner.EXTERNAL_PAGE_TABLE);
  }

  @Test
  void mixedCache_empty_hasNoPairs() {
    MixedCache cache = new MixedCache(kernel, pages);

    assertThat(dpamt.get(PFN, cache.pamtPages())).isEqualTo(Errno.ENOMEM);
  }
}
