package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.split;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Splits by a thread of user space, counted to the page: traces T1 to T8 and scenarios S2 to S7 and
 * S14 of the split series, where the range of a new S-EPT page has no page pair yet.
 */
@EachDesign
final class SplitFlowTest {

  @RegisterExtension final TdScenario host;

  SplitFlowTest(TdxDesign design) {
    host = TdScenario.scattered(design);
  }

  @Test
  void t1_s2_theFirstSplit_dropsTheLockTwice_allocatesSeven_andUsesFour() {
    Vmm vmm = host.bootWithLeafs(1);
    long allocations = host.splitAllocations();
    TdSnapshot before = host.snapshot();

    assertThat(host.callsOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .isEqualTo(
            Map.of(
                SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 1L,
                SeamcallLeaf.TDH_MEM_TRACK, 1L,
                SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1L,
                SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1L));

    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
    assertThat(host.splitAllocations() - allocations).isEqualTo(7);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
    assertThat(before.diffTo(host.snapshot()))
        .as("R(E) = 1, R(G) = 512, 512 leafs for one, six pages taken")
        .containsExactlyInAnyOrder(
            "- objects kvm_mmu_page_header: 40",
            "- pages free: 523159",
            "- pages mmu_page_table: 40",
            "- pages pamt_page: 36",
            "- pages sept_page: 4",
            "- sept VM 1 1 leafs L2 MAPPED at gfn 0x200: pfn 0x5000",
            "- stats VM 1 pages_2m: 1",
            "- stats VM 1 pages_4k: 16",
            "- tables VM 1 direct: total tables(incl root)=6 leaf4k=16 leaf2m=1 leaf1g=0",
            "- tables VM 1 mirror: leaf L2 gfn=0x200 n=1 spte=0x8600000005000bb7",
            "+ objects kvm_mmu_page_header: 41",
            "+ pages free: 523153",
            "+ pages mmu_page_table: 41",
            "+ pages pamt_page: 40",
            "+ pages sept_page: 5",
            "+ pair of 0x5000: PagePairView[page0=230686720, page1=228589568, pageCount=512]",
            "+ pair of 0xd800: PagePairView[page0=234881024, page1=232783872, pageCount=1]",
            "+ refcount of 0x5000: 512",
            "+ refcount of 0xd800: 1",
            "+ sept VM 1 512 leafs L1 MAPPED at gfn 0x200: pfn 0x5000",
            "+ sept VM 1 table: SeptTable[gpa=2097152, level=1, hpa=226492416]",
            "+ stats VM 1 pages_2m: 0",
            "+ stats VM 1 pages_4k: 528",
            "+ tables VM 1 direct: total tables(incl root)=7 leaf4k=528 leaf2m=0 leaf1g=0",
            "+ tables VM 1 mirror: leaf L1 gfn=0x200 n=512 spte=0x8600000005000b37",
            "+ tables VM 1 mirror: table L2 gfn=0x200 spte=0x800000000d600907");
  }

  @Test
  void t6_headAndTail_eachDropTheLockTwice() {
    Vmm vmm = host.bootWithLeafs(3);
    assertThat(split(vmm, 0x210, 0x610)).isEqualTo(Errno.OK);
    assertThat(leafs2M(vmm)).containsExactly(0x400L);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(8);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(8);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @Test
  void t4_s5_aLeafThatGoesWhileTheLockIsDropped_isLeftAloneAndTheSpareFreed() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    int cached = vmm.vcpus().get(0).cachedPamtPages();
    // The caller's own lock, the lock after the table's allocation, then after the topup.
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK,
            3,
            () -> assertThat(TdScenario.share(vmm, GFN, GFN + 512)).isEqualTo(Errno.OK));

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isZero();
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
    assertThat(before.diffTo(host.snapshot()))
        .as("what the other thread did, and four pages in the cache")
        .containsExactlyInAnyOrder(
            "- pages free: 523159",
            "- pages guest_memory: 1024",
            "- pages pamt_cache: " + cached,
            "- sept VM 1 1 leafs L2 MAPPED at gfn 0x200: pfn 0x5000",
            "- split cache VM 1: 0",
            "- stats VM 1 pages_2m: 1",
            "- stats VM 1 remote_tlb_flush_requests: 0",
            "- tables VM 1 direct: total tables(incl root)=6 leaf4k=16 leaf2m=1 leaf1g=0",
            "- tables VM 1 mirror: leaf L2 gfn=0x200 n=1 spte=0x8600000005000bb7",
            "+ pages free: 523667",
            "+ pages guest_memory: 512",
            "+ pages pamt_cache: " + (cached + 4),
            "+ split cache VM 1: 4",
            "+ stats VM 1 pages_2m: 0",
            "+ stats VM 1 remote_tlb_flush_requests: 1",
            "+ tables VM 1 direct: total tables(incl root)=6 leaf4k=16 leaf2m=0 leaf1g=0");
  }

  /** While the first allocates its table, or after it has filled the cache. */
  @ParameterizedTest(name = "before its lock {0}")
  @ValueSource(ints = {2, 3})
  void s5_aLeafThatAnotherThreadSplitsMeanwhile_isSplitOnceAndTheSpareFreed(int lock) {
    Vmm vmm = host.bootWithLeafs(1);
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK,
            lock,
            () -> assertThat(split(vmm, 0x300, 0x301)).isEqualTo(Errno.OK));

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @Test
  void s6_t7_aCacheThatAnotherSplitDrainedMeanwhile_isFilledAgain() {
    Vmm vmm = host.bootWithLeafs(2);
    // The first has filled the cache for itself and waits for the lock; the other one uses it up.
    host.kernel()
        .otherThreadBefore(
            LockClass.MMU_LOCK, 3, () -> assertThat(split(vmm, 0x410, 0x420)).isEqualTo(Errno.OK));

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(leafs2M(vmm)).isEmpty();
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    // The other split needed no topup: it found the first one's pages.
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_TOPUPS)).isEqualTo(2);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_TOO_FEW)).isZero();
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @Test
  void s7_t8_twoTopupsAtOnceFromThree_leaveFive_thatLaterSplitsUse() {
    Vmm vmm = host.bootWithLeafs(2);
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 4);
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(host.seen(Errno.ENOMEM));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(3);
    // The first has counted three, allocated one, and waits for the cache's lock.
    host.kernel().otherThreadBefore(LockClass.PREALLOC_SPLIT_CACHE_LOCK, 1, () -> topup(vmm));

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(5);
    assertThat(vmm.kvm().splitCacheCount()).as("5 - 4, never trimmed").isEqualTo(1);

    assertThat(split(vmm, 0x410, 0x420)).isEqualTo(Errno.OK);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(8);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  private static void topup(Vmm vmm) {
    assertThat(vmm.kvm().ops().topupExternalPerVmSplitCache(vmm.kvm(), PageLevel.LEVEL_2M))
        .isEqualTo(Errno.OK);
  }

  /** D10: the count is read before another thread's page is in the cache. */
  @Test
  void d10_aCountReadTooLow_costsOneDropOfTheLock() {
    Vmm vmm = host.bootWithLeafs(1);
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 4);
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(host.seen(Errno.ENOMEM));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(3);
    // Its walk drops the lock for the table, then because it has counted three.
    host.kernel()
        .after(LockClass.MMU_LOCK, 2, () -> host.kernel().spawn("other", () -> topup(vmm)).join());

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1 + 1);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_TOPUPS)).isEqualTo(1);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void t5_s3_aTopupWithoutMemory_keepsItsPages_andChangesNothingElse(int n) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), n);

    assertThat(host.callsOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(enomem())))
        .isEmpty();
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(n - 1);
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  /** ENOMEM, or 1 where D1 loses it. */
  private Errno enomem() {
    return host.seen(Errno.ENOMEM);
  }

  @Test
  void t5_aTailWithoutMemory_leavesTheHeadSplit() {
    Vmm vmm = host.bootWithLeafs(3);
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 4 + 3);

    assertThat(split(vmm, 0x210, 0x610)).isEqualTo(enomem());
    assertThat(leafs2M(vmm)).containsExactly(0x400L, 0x600L);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
  }

  @ParameterizedTest
  @ValueSource(strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table"})
  void s4_aTableThatCannotBeAllocated_changesNothing(String place) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(place, 1);

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(enomem());
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
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(splits);
    assertThat(count(vmm, MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(splits);
    assertThat(leafs4K(vmm, 0, 0x800)).as("every page is still mapped").isEqualTo(512L * splits);
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
  void s14_headAndTailThatAreSplitAlready_areNotSplitAgain() {
    Vmm vmm = host.bootWithLeafs(1);
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    TdSnapshot before = host.snapshot();
    assertThat(host.callsOf(() -> assertThat(split(vmm, 0x300, 0x380)).isEqualTo(Errno.OK)))
        .isEmpty();
    assertThat(before.diffTo(host.snapshot())).isEmpty();
  }
}
