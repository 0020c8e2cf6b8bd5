package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.pfnOf;
import static dev.septum.it.TdScenario.split;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Splits by a thread of user space, counted to the page: traces T1 to T6 and scenarios S1 to S7 of
 * the split series, where the range of a new S-EPT page has no page pair yet.
 */
final class SplitFlowTest {

  @RegisterExtension final TdScenario host = TdScenario.scattered();

  private Map<SeamcallLeaf, Long> callsSince(Map<SeamcallLeaf, Long> before) {
    Map<SeamcallLeaf, Long> since = new EnumMap<>(SeamcallLeaf.class);
    host.tdx()
        .module()
        .calls()
        .forEach(
            (leaf, calls) -> {
              if (calls > before.getOrDefault(leaf, 0L)) {
                since.put(leaf, calls - before.getOrDefault(leaf, 0L));
              }
            });
    return since;
  }

  /** Header, table, S-EPT page and PAMT pages allocated so far. */
  private long allocations() {
    return host.allocations("kvm_mmu_page_header")
        + host.allocations(PageOwner.MMU_PAGE_TABLE.tag())
        + host.allocations(PageOwner.EXTERNAL_PAGE_TABLE.tag())
        + host.allocations(PageOwner.PAMT_CACHE.tag());
  }

  @Test
  void t1_s2_theFirstSplit_dropsTheLockTwice_allocatesSeven_andUsesFour() {
    Vmm vmm = host.bootWithLeafs(1);
    long allocations = allocations();
    Map<SeamcallLeaf, Long> calls = host.tdx().module().calls();
    long pages4K = vmm.kvm().stats().get(VmStat.PAGES_4K);

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
    assertThat(allocations() - allocations).isEqualTo(7);
    assertThat(callsSince(calls))
        .isEqualTo(
            Map.of(
                SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 1L,
                SeamcallLeaf.TDH_MEM_TRACK, 1L,
                SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1L,
                SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1L));
    assertThat(vmm.kvm().splitCacheCount()).isZero();
    assertThat(host.tdx().dpamt().refcount(pfnOf(vmm, GFN))).isEqualTo(512);
    assertThat(vmm.kvm().stats().get(VmStat.PAGES_4K)).isEqualTo(pages4K + 512);
    assertThat(vmm.kvm().stats().get(VmStat.PAGES_2M)).isZero();
  }

  @Test
  void t6_headAndTail_eachDropTheLockTwice() {
    Vmm vmm = host.bootWithLeafs(3);
    assertThat(split(vmm, 0x210, 0x610)).isEqualTo(Errno.OK);
    assertThat(leafs2M(vmm)).containsExactly(0x400L);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(8);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(8);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @Test
  void t4_s5_aLeafThatGoesWhileTheLockIsDropped_isLeftAloneAndTheSpareFreed() {
    Vmm vmm = host.bootWithLeafs(1);
    long tables = host.pages().census().getOrDefault(PageOwner.SEPT_PAGE, 0L);
    // The caller's own lock, the lock after the table's allocation, then after the topup.
    host.kernel().before(LockClass.MMU_LOCK, () -> {});
    host.kernel().before(LockClass.MMU_LOCK, () -> {});
    host.kernel()
        .before(
            LockClass.MMU_LOCK,
            () -> assertThat(TdScenario.share(vmm, GFN, GFN + 512)).isEqualTo(Errno.OK));

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isZero();
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4);
    assertThat(host.pages().census()).containsEntry(PageOwner.SEPT_PAGE, tables);
  }

  @Test
  void s5_aLeafThatAnotherThreadSplitsMeanwhile_isSplitOnceAndTheSpareFreed() {
    Vmm vmm = host.bootWithLeafs(1);
    host.kernel().before(LockClass.MMU_LOCK, () -> {});
    host.kernel()
        .before(LockClass.MMU_LOCK, () -> assertThat(split(vmm, 0x300, 0x301)).isEqualTo(Errno.OK));

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
  }

  @Test
  void s6_t7_aCacheThatAnotherSplitDrainedMeanwhile_isFilledAgain() {
    Vmm vmm = host.bootWithLeafs(2);
    host.kernel().before(LockClass.MMU_LOCK, () -> {});
    host.kernel().before(LockClass.MMU_LOCK, () -> {});
    // The first has filled the cache for itself and waits for the lock; the other one uses it up.
    host.kernel()
        .before(LockClass.MMU_LOCK, () -> assertThat(split(vmm, 0x410, 0x420)).isEqualTo(Errno.OK));

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(leafs2M(vmm)).isEmpty();
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_TOPUPS)).isEqualTo(2);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_TOO_FEW)).isZero();
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @Test
  void s7_t8_twoTopupsAtOnce_leaveASurplusThatLaterSplitsUse() {
    Vmm vmm = host.bootWithLeafs(2);
    // The first has allocated and waits for the cache's lock; the second fills the cache.
    host.kernel()
        .before(
            LockClass.PREALLOC_SPLIT_CACHE_LOCK,
            () ->
                assertThat(
                        vmm.kvm().ops().topupExternalPerVmSplitCache(vmm.kvm(), PageLevel.LEVEL_2M))
                    .isEqualTo(Errno.OK));
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(5);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(1);

    assertThat(split(vmm, 0x410, 0x420)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(8);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void t5_s3_aTopupWithoutMemory_isEnomem_keepsItsPages_andChangesNothingElse(int n) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), n);

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.ENOMEM);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(n - 1);
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @Test
  void t5_aTailWithoutMemory_leavesTheHeadSplit() {
    Vmm vmm = host.bootWithLeafs(3);
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 4 + 3);

    assertThat(split(vmm, 0x210, 0x610)).isEqualTo(Errno.ENOMEM);
    assertThat(leafs2M(vmm)).containsExactly(0x400L, 0x600L);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
  }

  @ParameterizedTest
  @ValueSource(strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table"})
  void s4_aTableThatCannotBeAllocated_isEnomemAndChangesNothing(String place) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(place, 1);

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.ENOMEM);
    assertThat(before.diffTo(host.snapshot())).isEmpty();
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
  }

  /** The table of split-series §5.3: which leafs stick out of a range. */
  @ParameterizedTest(name = "[{0}, {1}) splits {2}")
  @CsvSource({
    "0x200, 0x400, ''",
    "0x201, 0x202, 200",
    "0x210, 0x220, 200",
    "0x200, 0x300, 200",
    "0x300, 0x400, 200",
    "0x1ff, 0x401, 0 400",
    "0x000, 0x401, 400",
  })
  void s14_onlyLeafsThatStickOut_areSplit(long start, long end, String expected) {
    Vmm vmm = host.boot();
    TdScenario.accept2M(vmm, 0, 4);
    assertThat(split(vmm, start, end)).isEqualTo(Errno.OK);
    String stillWhole =
        leafs2M(vmm).stream().map(Long::toHexString).collect(Collectors.joining(" "));
    assertThat(stillWhole).isEqualTo(without("0 200 400 600", expected));
    int splits = expected.isEmpty() ? 0 : expected.split(" ", -1).length;
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(splits);
  }

  private static String without(String all, String removed) {
    List<String> left = new ArrayList<>(List.of(all.split(" ", -1)));
    left.removeAll(List.of(removed.split(" ", -1)));
    return String.join(" ", left);
  }

  @Test
  void s14_headAndTailThatAreNotMapped_areNoError() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    assertThat(split(vmm, 0x810, 0xa20)).isEqualTo(Errno.OK);
    assertThat(before.diffTo(host.snapshot())).isEmpty();
  }

  @Test
  void s9_aPairThatAnotherGetInstalledFirst_goesBackIntoTheCache() {
    Vmm vmm = host.bootWithLeafs(1);
    long[] othersPage = new long[1];
    // Between the count of 0 and pamt_lock, another user of the S-EPT page's range comes first.
    host.kernel()
        .before(
            LockClass.PAMT_LOCK,
            () -> {
              othersPage[0] = unbackedExternalPage();
              host.kernel()
                  .spawn(
                      "other",
                      () -> assertThat(host.tdx().dpamt().get(othersPage[0])).isEqualTo(Errno.OK))
                  .join();
            });
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
    assertThat(host.tdx().dpamt().refcount(othersPage[0])).isEqualTo(2);
    host.tdx().dpamt().put(othersPage[0]);
  }

  /** The page for the S-EPT table of the split in progress: the last one, and without a pair. */
  private long unbackedExternalPage() {
    return LongStream.range(0, host.pages().totalPages())
        .filter(pfn -> host.pages().ownerOf(pfn) == PageOwner.EXTERNAL_PAGE_TABLE)
        .filter(pfn -> host.tdx().dpamt().refcount(pfn) == 0)
        .max()
        .orElseThrow();
  }
}
