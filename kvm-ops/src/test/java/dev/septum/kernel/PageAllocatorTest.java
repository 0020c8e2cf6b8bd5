package dev.septum.kernel;

import static dev.septum.kernel.PageAllocator.NO_PAGE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class PageAllocatorTest {

  private static final int RANGES = 4;
  private static final long TOTAL = RANGES * 512;

  private final Kernel kernel = Kernel.host();
  private PageAllocator pages = host(Placement.SEQUENTIAL, 0);

  private PageAllocator host(Placement placement, long seed) {
    return new PageAllocator(kernel, TOTAL * 4096, placement, seed);
  }

  @AfterEach
  void everyPageCountedOneByOneIsInTheCensus() {
    assertThat(pages.recount()).isEqualTo(pages.census());
    assertThat(pages.census().values().stream().mapToLong(n -> n).sum()).isEqualTo(TOTAL);
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -2097152, 4096, 2097152 + 4096})
  void constructor_notWholeRanges_isTheCallersMistake(long bytes) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new PageAllocator(kernel, bytes, Placement.SEQUENTIAL, 0))
        .withMessage("host memory of %s bytes is not a positive multiple of 2 MiB", bytes);
  }

  @Test
  void newHost_isAllFree() {
    assertThat(owned()).isEmpty();
    assertThat(pages.totalPages()).isEqualTo(TOTAL);
    assertThat(pages.ownerOf(TOTAL - 1)).isEqualTo(PageOwner.FREE);
  }

  @Test
  void allocPage_givesThePageToItsOwner() {
    long pfn = alloc(PageOwner.SEPT_PAGE);

    assertThat(pages.ownerOf(pfn)).isEqualTo(PageOwner.SEPT_PAGE);
    assertThat(owned()).isEqualTo(Map.of(PageOwner.SEPT_PAGE, 1L));
  }

  @Test
  void allocPage_forNobody_isTheCallersMistake() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> alloc(PageOwner.FREE))
        .withMessage("pages cannot be allocated for nobody");
    assertThatIllegalArgumentException().isThrownBy(() -> allocFolio(PageOwner.FREE));
  }

  @Test
  void allocPage_sequential_takesNeighbours() {
    assertThat(LongStream.range(0, 515).map(i -> alloc(PageOwner.PAMT_CACHE)).toArray())
        .isEqualTo(LongStream.range(0, 515).toArray());
  }

  @Test
  void allocPage_sequential_fillsHolesFirst() {
    allocMany(3);
    pages.freePage(1, PageOwner.PAMT_CACHE);

    assertThat(alloc(PageOwner.PAMT_CACHE)).isEqualTo(1);
    assertThat(alloc(PageOwner.PAMT_CACHE)).isEqualTo(3);
  }

  @Test
  void allocPage_sequential_leavesWholeRangesWholeAsLongAsItCan() {
    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isZero();
    assertThat(alloc(PageOwner.PAMT_CACHE)).isEqualTo(512);
    pages.freeFolio(0, PageOwner.GUEST_MEMORY);

    assertThat(alloc(PageOwner.PAMT_CACHE)).isEqualTo(513);
    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isZero();
  }

  @Test
  void allocPage_scattered_goesRoundTheRanges() {
    pages = host(Placement.SCATTERED, 0);

    assertThat(LongStream.range(0, 9).map(i -> alloc(PageOwner.PAMT_CACHE)).toArray())
        .containsExactly(0, 512, 1024, 1536, 1, 513, 1025, 1537, 2);
  }

  @Test
  void allocPage_seeded_isTheSameForTheSameSeedOnly() {
    List<List<Long>> runs = new ArrayList<>();
    for (long seed : List.of(1L, 1L, 2L)) {
      pages = host(Placement.SEEDED, seed);
      runs.add(allocMany(64));
    }

    assertThat(runs.get(1)).isEqualTo(runs.get(0));
    assertThat(runs.get(2)).isNotEqualTo(runs.get(0));
    assertThat(runs.get(0).stream().map(pfn -> pfn / 512).distinct()).hasSize(RANGES);
  }

  @ParameterizedTest
  @EnumSource
  void allocPage_untilThereIsNone_givesEachPageOnce(Placement placement) {
    pages = host(placement, 3);

    assertThat(new TreeSet<>(allocMany((int) TOTAL))).hasSize((int) TOTAL);

    assertThat(alloc(PageOwner.PAMT_CACHE)).isEqualTo(NO_PAGE);
    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isEqualTo(NO_PAGE);
    assertThat(owned()).isEqualTo(Map.of(PageOwner.PAMT_CACHE, TOTAL));
    pages.freePage(700, PageOwner.PAMT_CACHE);
    assertThat(alloc(PageOwner.SEPT_PAGE)).isEqualTo(700);
  }

  @Test
  void allocFolio_takesWholeRangesOnly() {
    alloc(PageOwner.PAMT_CACHE);

    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isEqualTo(512);
    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isEqualTo(1024);
    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isEqualTo(1536);
    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isEqualTo(NO_PAGE);
    assertThat(owned())
        .isEqualTo(Map.of(PageOwner.GUEST_MEMORY, 3L * 512, PageOwner.PAMT_CACHE, 1L));
  }

  @Test
  void freeFolio_wholeOne_canBeTakenAgain() {
    long pfn = allocFolio(PageOwner.GUEST_MEMORY);

    pages.freeFolio(pfn, PageOwner.GUEST_MEMORY);

    assertThat(owned()).isEmpty();
    assertThat(allocFolio(PageOwner.USER_MEMORY)).isEqualTo(pfn);
  }

  @Test
  void folio_brokenUpPageByPage_isWholeAgainAfterTheLastFree() {
    long pfn = allocFolio(PageOwner.GUEST_MEMORY);
    for (int i = 0; i < 511; i++) {
      pages.freePage(pfn + i, PageOwner.GUEST_MEMORY);
    }
    assertThat(pages.ownerOf(pfn + 511)).isEqualTo(PageOwner.GUEST_MEMORY);
    assertThat(allocFolio(PageOwner.USER_MEMORY)).isEqualTo(512);

    pages.freePage(pfn + 511, PageOwner.GUEST_MEMORY);

    assertThat(allocFolio(PageOwner.USER_MEMORY)).isEqualTo(pfn);
  }

  @Test
  void freeFolio_brokenUpButOfOneOwner_isFreed() {
    long pfn = allocFolio(PageOwner.GUEST_MEMORY);
    pages.changeOwner(pfn + 5, PageOwner.GUEST_MEMORY, PageOwner.SEPT_PAGE);
    pages.changeOwner(pfn + 5, PageOwner.SEPT_PAGE, PageOwner.GUEST_MEMORY);

    pages.freeFolio(pfn, PageOwner.GUEST_MEMORY);

    assertThat(owned()).isEmpty();
    assertThat(allocFolio(PageOwner.USER_MEMORY)).isEqualTo(pfn);
  }

  @Test
  void freeFolio_onePageOfAnotherOwner_changesNothing() {
    long pfn = allocFolio(PageOwner.GUEST_MEMORY);
    pages.changeOwner(pfn + 5, PageOwner.GUEST_MEMORY, PageOwner.SEPT_PAGE);
    Map<PageOwner, Long> before = pages.census();

    assertThatIllegalStateException()
        .isThrownBy(() -> pages.freeFolio(pfn, PageOwner.GUEST_MEMORY))
        .withMessage(
            "pfn 0x5 belongs to sept_page, not to guest_memory: it cannot go to free;"
                + " history: free->guest_memory guest_memory->sept_page");

    assertThat(pages.census()).isEqualTo(before);
  }

  @Test
  void freeFolio_twiceOrOfAnotherOwner_isTheCallersMistake() {
    long pfn = allocFolio(PageOwner.GUEST_MEMORY);
    assertThatIllegalStateException()
        .isThrownBy(() -> pages.freeFolio(pfn, PageOwner.USER_MEMORY))
        .withMessageContaining("belongs to guest_memory, not to user_memory");
    pages.freeFolio(pfn, PageOwner.GUEST_MEMORY);
    assertThatIllegalStateException()
        .isThrownBy(() -> pages.freeFolio(pfn, PageOwner.GUEST_MEMORY))
        .withMessageContaining("belongs to free, not to guest_memory");
    assertThatIllegalStateException().isThrownBy(() -> pages.freeFolio(pfn, PageOwner.FREE));
  }

  @ParameterizedTest
  @ValueSource(longs = {-512, 5, TOTAL})
  void freeFolio_ofNoRange_isTheCallersMistake(long pfn) {
    allocFolio(PageOwner.GUEST_MEMORY);
    Map<PageOwner, Long> before = pages.census();

    assertThatIllegalArgumentException()
        .isThrownBy(() -> pages.freeFolio(pfn, PageOwner.GUEST_MEMORY))
        .withMessageContaining("pfn 0x%x".formatted(pfn));

    assertThat(pages.census()).isEqualTo(before);
  }

  @Test
  void freePage_twice_isTheCallersMistakeAndTellsTheHistory() {
    long pfn = alloc(PageOwner.PAMT_CACHE);
    pages.changeOwner(pfn, PageOwner.PAMT_CACHE, PageOwner.PAMT_PAGE);
    pages.freePage(pfn, PageOwner.PAMT_PAGE);

    assertThatIllegalStateException()
        .isThrownBy(() -> pages.freePage(pfn, PageOwner.PAMT_PAGE))
        .withMessage(
            "pfn 0x0 belongs to free, not to pamt_page: it cannot go to free;"
                + " history: free->pamt_cache pamt_cache->pamt_page pamt_page->free");
  }

  @Test
  void changeOwner_fromAnotherOwner_changesNothingAndTellsTheHistory() {
    long pfn = allocFolio(PageOwner.GUEST_MEMORY) + 0x1a;

    assertThatIllegalStateException()
        .isThrownBy(() -> pages.changeOwner(pfn, PageOwner.PAMT_CACHE, PageOwner.PAMT_PAGE))
        .withMessage(
            "pfn 0x1a belongs to guest_memory, not to pamt_cache: it cannot go to pamt_page;"
                + " history: free->guest_memory");

    assertThat(owned()).isEqualTo(Map.of(PageOwner.GUEST_MEMORY, 512L));
  }

  @Test
  void changeOwner_fromFree_isTheCallersMistake() {
    assertThatIllegalStateException()
        .isThrownBy(() -> pages.changeOwner(9, PageOwner.FREE, PageOwner.PAMT_PAGE))
        .withMessageContaining("pfn 0x9 belongs to free");
  }

  @ParameterizedTest
  @ValueSource(longs = {NO_PAGE, TOTAL})
  void anyCall_outsideHostMemory_isTheCallersMistake(long pfn) {
    String message = "pfn 0x%x is not host memory".formatted(pfn);
    assertThatIllegalArgumentException().isThrownBy(() -> pages.ownerOf(pfn)).withMessage(message);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> pages.freePage(pfn, PageOwner.PAMT_PAGE))
        .withMessage(message);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> pages.setPrivate(pfn, "x"))
        .withMessage(message);
  }

  @Test
  void historyOf_tellsOfThatPageOnly() {
    allocMany(2);
    pages.freePage(1, PageOwner.PAMT_CACHE);

    assertThat(pages.historyOf(0)).isEqualTo("history: free->pamt_cache");
    assertThat(pages.historyOf(1)).isEqualTo("history: free->pamt_cache pamt_cache->free");
    assertThat(pages.historyOf(2)).isEqualTo("history:");
  }

  @Test
  void historyOf_muchLater_forgetsTheOldest() {
    alloc(PageOwner.SEPT_PAGE);
    for (int i = 0; i < 4096 / 2; i++) {
      pages.freePage(alloc(PageOwner.PAMT_CACHE), PageOwner.PAMT_CACHE);
    }

    assertThat(pages.historyOf(0)).isEqualTo("history:");
    assertThat(pages.ownerOf(0)).isEqualTo(PageOwner.SEPT_PAGE);
  }

  @Test
  void faults_byNumber_failThatAllocationOnly() {
    pages.faults().failNext("pamt_cache", 2);

    assertThat(alloc(PageOwner.PAMT_CACHE)).isZero();
    assertThat(alloc(PageOwner.PAMT_CACHE)).isEqualTo(NO_PAGE);
    assertThat(alloc(PageOwner.PAMT_CACHE)).isEqualTo(1);
    assertThat(owned()).isEqualTo(Map.of(PageOwner.PAMT_CACHE, 2L));
  }

  @Test
  void faults_byPlace_failThatOwnersAllocations() {
    pages.faults().failAlways("guest_memory");

    assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isEqualTo(NO_PAGE);
    assertThat(alloc(PageOwner.GUEST_MEMORY)).isEqualTo(NO_PAGE);
    assertThat(alloc(PageOwner.USER_MEMORY)).isZero();
  }

  @Test
  void faults_random_areTheSameForTheSameSeed() {
    List<List<Long>> runs = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      pages = host(Placement.SEQUENTIAL, 0);
      pages.faults().failRandomly(0.5, 11);
      runs.add(LongStream.range(0, 40).map(n -> alloc(PageOwner.SEPT_PAGE)).boxed().toList());
    }

    assertThat(runs.get(0)).isEqualTo(runs.get(1)).contains(NO_PAGE, 0L);
  }

  @Test
  void objects_areCountedBySlab() {
    assertThat(pages.allocObject("mmu_page_header", Gfp.KERNEL)).isTrue();
    assertThat(pages.allocObject("mmu_page_header", Gfp.ATOMIC)).isTrue();
    assertThat(pages.allocObject("other", Gfp.KERNEL)).isTrue();
    pages.freeObject("other");

    assertThat(pages.objects()).isEqualTo(Map.of("mmu_page_header", 2L));
  }

  @Test
  void allocObject_toldToFail_takesNothing() {
    pages.faults().failNext("mmu_page_header", 1);

    assertThat(pages.allocObject("mmu_page_header", Gfp.KERNEL)).isFalse();

    assertThat(pages.objects()).isEmpty();
  }

  @Test
  void freeObject_thatWasNeverTaken_isTheCallersMistake() {
    assertThatIllegalStateException()
        .isThrownBy(() -> pages.freeObject("mmu_page_header"))
        .withMessage("more objects of slab mmu_page_header freed than taken");
    assertThat(pages.objects()).isEmpty();
  }

  @Test
  void allocations_thatMaySleep_areViolationsUnderASpinningLock() {
    SpinLock lock = kernel.spinLock(LockClass.PAMT_LOCK);
    lock.lock();
    assertThatIllegalStateException()
        .isThrownBy(() -> alloc(PageOwner.SEPT_PAGE))
        .withMessageContaining("allocating a page for sept_page while holding pamt_lock");
    assertThatIllegalStateException()
        .isThrownBy(() -> allocFolio(PageOwner.GUEST_MEMORY))
        .withMessageContaining("allocating a page for guest_memory");
    assertThatIllegalStateException()
        .isThrownBy(() -> pages.allocObject("header", Gfp.KERNEL_ACCOUNT))
        .withMessageContaining("allocating a header");
    assertThat(pages.allocPage(PageOwner.SEPT_PAGE, Gfp.ATOMIC)).isZero();
    lock.unlock();
  }

  @Test
  void privateValue_goesWithItsPage() {
    allocMany(2);
    pages.setPrivate(0, "header");

    assertThat(pages.getPrivate(0)).isEqualTo("header");
    assertThat(pages.getPrivate(1)).isNull();
    assertThat(pages.getPrivate(600)).isNull();
    pages.freePage(0, PageOwner.PAMT_CACHE);
    assertThat(pages.getPrivate(0)).isNull();
    assertThat(alloc(PageOwner.SEPT_PAGE)).isZero();
    assertThat(pages.getPrivate(0)).isNull();
  }

  @Test
  void privateValue_ofAFolio_staysWhenItIsBrokenUpAndGoesWhenFreed() {
    long pfn = allocFolio(PageOwner.GUEST_MEMORY);
    pages.setPrivate(pfn + 7, "tail");
    pages.changeOwner(pfn, PageOwner.GUEST_MEMORY, PageOwner.USER_MEMORY);
    assertThat(pages.getPrivate(pfn + 7)).isEqualTo("tail");
    pages.changeOwner(pfn, PageOwner.USER_MEMORY, PageOwner.GUEST_MEMORY);

    pages.freeFolio(pfn, PageOwner.GUEST_MEMORY);
    allocFolio(PageOwner.GUEST_MEMORY);

    assertThat(pages.getPrivate(pfn + 7)).isNull();
  }

  @Test
  void setPrivate_ofAFreePage_isTheCallersMistake() {
    assertThatIllegalStateException()
        .isThrownBy(() -> pages.setPrivate(3, "x"))
        .withMessage("pfn 0x3 is free and cannot carry anything; history:");
    assertThat(pages.getPrivate(3)).isNull();
  }

  static LongStream seeds() {
    return LongStream.concat(LongStream.range(0, 6), LongStream.of(System.nanoTime()));
  }

  @ParameterizedTest(name = "seed {0}")
  @MethodSource("seeds")
  void randomSteps_ownersAreAsASimpleMapHasThem(long seed) {
    Random random = new Random(seed);
    pages = host(Placement.values()[random.nextInt(3)], seed);
    TreeMap<Long, PageOwner> model = new TreeMap<>();
    PageOwner[] owners = {PageOwner.GUEST_MEMORY, PageOwner.SEPT_PAGE, PageOwner.PAMT_PAGE};
    for (int step = 0; step < 5000; step++) {
      PageOwner owner = owners[random.nextInt(owners.length)];
      switch (random.nextInt(8)) {
        case 0 -> {
          long pfn = allocFolio(owner);
          for (int i = 0; pfn != NO_PAGE && i < 512; i++) {
            assertThat(model.put(pfn + i, owner)).as("seed %d", seed).isNull();
          }
        }
        case 1, 2 -> {
          long pfn = alloc(owner);
          assertThat(pfn == NO_PAGE).as("seed %d", seed).isEqualTo(model.size() == TOTAL);
          if (pfn != NO_PAGE) {
            assertThat(model.put(pfn, owner)).as("seed %d", seed).isNull();
          }
        }
        case 3 -> {
          Long pfn = model.ceilingKey((long) random.nextInt((int) TOTAL));
          if (pfn != null) {
            pages.changeOwner(pfn, model.replace(pfn, owner), owner);
          }
        }
        case 4 -> {
          long range = 512L * random.nextInt(RANGES);
          Map<Long, PageOwner> inRange = model.subMap(range, range + 512);
          if (inRange.size() == 512 && new TreeSet<>(inRange.values()).size() == 1) {
            pages.freeFolio(range, inRange.values().iterator().next());
            inRange.clear();
          }
        }
        default -> {
          long from = random.nextInt((int) TOTAL);
          Map<Long, PageOwner> some = model.subMap(from, from + random.nextInt(600));
          some.forEach((pfn, found) -> pages.freePage(pfn, found));
          some.clear();
        }
      }
    }

    TreeMap<Long, PageOwner> found = new TreeMap<>();
    for (long pfn = 0; pfn < TOTAL; pfn++) {
      if (pages.ownerOf(pfn) != PageOwner.FREE) {
        found.put(pfn, pages.ownerOf(pfn));
      }
    }
    assertThat(found).as("seed %d", seed).isEqualTo(model);
    model.forEach((pfn, owner) -> pages.freePage(pfn, owner));
    assertThat(owned()).as("seed %d", seed).isEmpty();
    for (int i = 0; i < RANGES; i++) {
      assertThat(allocFolio(PageOwner.GUEST_MEMORY)).isEqualTo(512L * i);
    }
  }

  private long alloc(PageOwner owner) {
    return pages.allocPage(owner, Gfp.KERNEL);
  }

  private long allocFolio(PageOwner owner) {
    return pages.allocFolio(owner, Gfp.KERNEL);
  }

  private List<Long> allocMany(int count) {
    List<Long> pfns = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      pfns.add(alloc(PageOwner.PAMT_CACHE));
    }
    return pfns;
  }

  /** Every owner but nobody, with what it has. */
  private Map<PageOwner, Long> owned() {
    Map<PageOwner, Long> census = pages.census();
    census.remove(PageOwner.FREE);
    census.values().removeIf(count -> count == 0);
    return census;
  }

  @Test
  void isOwnedBy_asksEachPageOfARange() {
    long folio = pages.allocFolio(PageOwner.GUEST_MEMORY, Gfp.KERNEL);

    assertThat(pages.isOwnedBy(PageOwner.GUEST_MEMORY, folio, 512)).isTrue();
    assertThat(pages.isOwnedBy(PageOwner.USER_MEMORY, folio, 512)).isFalse();
    assertThat(pages.isOwnedBy(PageOwner.FREE, folio + 512, 512)).isTrue();

    pages.changeOwner(folio + 7, PageOwner.GUEST_MEMORY, PageOwner.USER_MEMORY);

    assertThat(pages.isOwnedBy(PageOwner.GUEST_MEMORY, folio, 512)).isFalse();
    assertThat(pages.isOwnedBy(PageOwner.GUEST_MEMORY, folio, 7)).isTrue();
    assertThat(pages.isOwnedBy(PageOwner.USER_MEMORY, folio + 7, 1)).isTrue();
    assertThat(pages.isOwnedBy(PageOwner.GUEST_MEMORY, folio + 8, 504)).isTrue();
    assertThatThrownBy(() -> pages.isOwnedBy(PageOwner.FREE, folio + 8, 505))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("505 pages from pfn 0x%x are not in one range".formatted(folio + 8));
  }

  @Test
  void taken_isTheCensusOfThoseWhoHavePages() {
    assertThat(pages.taken()).isEmpty();

    pages.allocFolio(PageOwner.GUEST_MEMORY, Gfp.KERNEL);
    pages.freePage(pages.allocPage(PageOwner.SEPT_PAGE, Gfp.KERNEL), PageOwner.SEPT_PAGE);

    assertThat(pages.taken()).containsExactly(Map.entry(PageOwner.GUEST_MEMORY, 512L));
  }
}
