package dev.septum.it.v3;

import static dev.septum.it.v3.PostedHost.GFN;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.vmm.Vmm;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Splits of the posted design in which no SEAMCALL fails, counted to the page. */
final class PostedSplitTest {

  private static final Map<SeamcallLeaf, Long> ONE_SPLIT =
      Map.of(
          SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 1L,
          SeamcallLeaf.TDH_MEM_TRACK, 1L,
          SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1L);

  @Test
  void t1_s2_theFirstSplit_dropsTheLockTwice_allocatesSeven_andUsesFour() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    long allocations = host.allocations();
    long added = host.tdx.dpamt().counters().get(PamtCounter.PAIRS_ADDED);
    long pages4K = host.kvm().stats().get(VmStat.PAGES_4K);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.count(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
    assertThat(host.count(MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
    assertThat(host.allocations() - allocations).isEqualTo(7);
    assertThat(host.splitCalls()).isEqualTo(ONE_SPLIT);
    assertThat(host.tdx.dpamt().counters().get(PamtCounter.PAIRS_ADDED) - added).isEqualTo(1);
    assertThat(host.kvm().splitCacheCount()).isZero();
    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
    assertThat(host.tdx.dpamt().refcount(host.pfn())).isEqualTo(512);
    assertThat(host.kvm().stats().get(VmStat.PAGES_4K)).isEqualTo(pages4K + 512);
    assertThat(host.kvm().stats().get(VmStat.PAGES_2M)).isZero();
    assertThat(host.sept()).isEqualTo(Map.of("4K " + SeptState.MAPPED, 512L));
    host.assertSound();
  }

  @Test
  void t2_s1_aBackedSeptPage_leavesTwo_andTheNextTopupBringsTwo() {
    PostedHost host = PostedHost.packed().accept2M(GFN, 2);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(host.kvm().splitCacheCount()).isEqualTo(2);
    assertThat(host.split(0x410, 0x420)).isEqualTo(Errno.OK);

    assertThat(host.kvm().splitCacheCount()).isEqualTo(2);
    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4 + 2);
    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(2 + 2);
    host.assertSound();
  }

  @Test
  void t1_t2_t3_eachSplitUsesTwoPagesOrFour_andTheTopupBringsWhatIsMissing() {
    PostedHost host = new PostedHost(TdxDesign.POSTED_V3, Placement.SEEDED, 512L << 20);
    host.accept2M(GFN, 3);
    for (long gfn = GFN; gfn < GFN + 3 * 512; gfn += 512) {
      int before = host.kvm().splitCacheCount();
      long in = host.count(TdxCounter.SPLIT_CACHE_PAGES_IN);
      long pairs = host.tdx.dpamt().pairsInstalled();

      assertThat(host.split(gfn + 1, gfn + 2)).isEqualTo(Errno.OK);

      long used = 2 * (host.tdx.dpamt().pairsInstalled() - pairs);
      assertThat(used).isIn(2L, 4L);
      assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_IN) - in).isEqualTo(4 - before);
      assertThat(host.kvm().splitCacheCount()).isEqualTo(4 - used);
    }
    host.assertSound();
  }

  @Test
  void t4_s5_aLeafThatGoesMeanwhile_isLeftAlone_andTheCacheStaysFull() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    // The caller's own lock, the one after the table's allocation, the one after the topup.
    host.otherThreadBefore(
        LockClass.MMU_LOCK,
        3,
        () -> assertThat(host.vmm.convert(GFN << 12, 2L << 20, false)).isEqualTo(Errno.OK));

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.count(MmuCounter.MIRROR_SPLITS)).isZero();
    assertThat(host.splitCalls()).doesNotContainKey(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE);
    assertThat(host.kvm().splitCacheCount()).isEqualTo(4);
    host.assertSound();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void t5_s3_aTopupWithoutMemory_becomes1_keepsItsPages_andLeavesTheLeaf(int n) {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), n);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.ONE);

    assertThat(host.kvm().splitCacheCount()).isEqualTo(n - 1);
    assertThat(host.leafs2M()).containsExactly(GFN);
    assertThat(host.splitCalls()).isEmpty();
    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);
    host.assertSound();
  }

  @ParameterizedTest
  @ValueSource(strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table"})
  void s4_aTableThatCannotBeAllocated_becomes1AndChangesNothing(String place) {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    host.pages().faults().failNext(place, 1);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.ONE);

    assertThat(host.leafs2M()).containsExactly(GFN);
    assertThat(host.kvm().splitCacheCount()).isZero();
    assertThat(host.splitCalls()).isEmpty();
    host.assertSound();
  }

  @Test
  void t6_headAndTail_eachDropTheLockTwice() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 3);

    assertThat(host.split(0x210, 0x610)).isEqualTo(Errno.OK);

    assertThat(host.leafs2M()).containsExactly(0x400L);
    assertThat(host.count(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(host.count(MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(8);
    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(8);
    host.assertSound();
  }

  @Test
  void t7_s6_aCacheThatAnotherSplitDrained_isFilledAgain() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 2);
    host.otherThreadBefore(
        LockClass.MMU_LOCK, 3, () -> assertThat(host.split(0x410, 0x420)).isEqualTo(Errno.OK));

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.leafs2M()).isEmpty();
    assertThat(host.count(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    // The other split needed none: it found the first one's pages.
    assertThat(host.count(MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
    assertThat(host.count(TdxCounter.SPLIT_CACHE_TOPUPS)).isEqualTo(2);
    assertThat(host.kvm().splitCacheCount()).isZero();
    host.assertSound();
  }

  @Test
  void t8_s7_twoTopupsAtOnce_leaveFive_andNobodyTrims() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    host.otherThreadBefore(
        LockClass.PREALLOC_SPLIT_CACHE_LOCK,
        1,
        () ->
            assertThat(
                    host.kvm().ops().topupExternalPerVmSplitCache(host.kvm(), PageLevel.LEVEL_2M))
                .isEqualTo(Errno.OK));

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(5);
    assertThat(host.kvm().splitCacheCount()).isEqualTo(1);
    host.assertSound();
  }

  @Test
  void s9_aLostRace_burnsItsPair() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    long[] other = new long[1];
    host.otherThreadBefore(
        LockClass.PAMT_LOCK,
        1,
        () -> {
          other[0] = host.unbackedSeptPage() + 1;
          assertThat(host.tdx.dpamt().get(other[0])).isEqualTo(Errno.OK);
        });

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.kvm().splitCacheCount()).isZero();
    assertThat(host.tdx.dpamt().counters().get(PamtCounter.LOST_RACES)).isEqualTo(1);
    assertThat(host.tdx.dpamt().refcount(other[0])).isEqualTo(2);
    host.tdx.dpamt().put(other[0]);
    host.assertSound();
  }

  @Test
  void t13_s10_aPutOnItsWayOut_leavesItsPairToTheSplit() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    SharedWord dropped = host.hooks.word(0);
    SharedWord splitDone = host.hooks.word(0);
    KernelThread[] put = new KernelThread[1];
    long[] other = new long[1];
    // Four topups take the cache's lock, then the get of the S-EPT page does.
    host.hooks.before(
        LockClass.PREALLOC_SPLIT_CACHE_LOCK,
        5,
        () -> {
          other[0] = host.unbackedSeptPage() + 1;
          put[0] =
              host.hooks.spawn("put", () -> getAndPutSlowly(host, other[0], dropped, splitDone));
          awaitSet(host, dropped);
        });

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);
    splitDone.set(1);
    put[0].join();

    assertThat(host.tdx.dpamt().counters().get(PamtCounter.PAIRS_RESCUED)).isEqualTo(1);
    assertThat(host.tdx.dpamt().refcount(other[0])).isEqualTo(1);
    assertThat(host.kvm().splitCacheCount()).isZero();
    host.assertSound();
  }

  /** A put whose count is at 0 and that gets no further until the split is done. */
  private static void getAndPutSlowly(
      PostedHost host, long page, SharedWord dropped, SharedWord goOn) {
    assertThat(host.tdx.dpamt().get(page)).isEqualTo(Errno.OK);
    host.hooks.before(
        LockClass.PAMT_LOCK,
        1,
        () -> {
          dropped.set(1);
          awaitSet(host, goOn);
        });
    host.tdx.dpamt().put(page);
  }

  private static void awaitSet(PostedHost host, SharedWord word) {
    while (word.get() == 0) {
      host.hooks.condResched();
    }
  }

  @Test
  void t12_s12_theLastOf512Puts_takesThePair() {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);
    long pfn = host.pfn();
    assertThat(host.share(GFN, GFN + 511)).isEqualTo(Errno.OK);
    assertThat(host.tdx.dpamt().refcount(pfn)).isEqualTo(1);
    assertThat(host.tdx.module().view().pamtPairs()).containsKey(pfn << 12);

    assertThat(host.share(GFN + 511, GFN + 512)).isEqualTo(Errno.OK);

    assertThat(host.tdx.dpamt().refcount(pfn)).isZero();
    assertThat(host.tdx.module().view().pamtPairs()).doesNotContainKey(pfn << 12);
    assertThat(host.sept()).isEmpty();
    host.assertSound();
  }

  @Test
  void t15_twoVcpusAcceptPartsOfOneLeaf_oneSplits() {
    PostedHost host = PostedHost.packed();
    Vmm vmm = host.vmm;
    vmm.vcpus().forEach(vcpu -> vmm.runToHalt(vcpu, GuestProgram.of()));
    AcceptMemory first = accept4K(GFN + 1, AcceptMemory.Order.TOUCH_FIRST);
    AcceptMemory second = accept4K(GFN + 2, AcceptMemory.Order.ACCEPT_FIRST);
    // The touch takes the lock once; the first vCPU has then seen no inhibit flag.
    host.otherThreadBefore(
        LockClass.MMU_LOCK, 2, () -> vmm.runToHalt(vmm.vcpus().get(1), GuestProgram.of(second)));

    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(first));

    assertThat(host.count(MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(host.splitCalls()).isEqualTo(ONE_SPLIT);
    assertThat(host.sept())
        .isEqualTo(Map.of("4K " + SeptState.MAPPED, 2L, "4K " + SeptState.PENDING, 510L));
    host.assertSound();
  }

  private static AcceptMemory accept4K(long gfn, AcceptMemory.Order order) {
    return new AcceptMemory(gfn << 12, (gfn + 1) << 12, order);
  }

  @Test
  void s18_aSplitUnderTheReadLock_isRefusedAndTheErrorLost() {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);

    assertThat(host.split(0x210, 0x220, LockMode.SHARED)).isEqualTo(Errno.ONE);

    assertThat(host.leafs2M()).containsExactly(GFN);
    assertThat(host.splitCalls()).isEmpty();
    assertThat(host.kvm().splitCacheCount()).isEqualTo(4);
    host.assertSound();
  }

  /** D10: the count is read before another thread's page is in the cache. */
  @Test
  void d10_aCountReadTooLow_costsOneDropOfTheLock_onBothDesigns() {
    for (TdxDesign design : new TdxDesign[] {TdxDesign.POSTED_V3, TdxDesign.SOUND}) {
      PostedHost host = new PostedHost(design, Placement.SCATTERED, 2L << 30);
      host.accept2M(GFN, 1);
      host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 4);
      assertThat(host.split(0x210, 0x220)).isNotEqualTo(Errno.OK);
      assertThat(host.kvm().splitCacheCount()).isEqualTo(3);
      // Its walk drops the lock for the table, then because it has counted three.
      host.hooks.after(
          LockClass.MMU_LOCK,
          2,
          () ->
              host.hooks
                  .spawn(
                      "other",
                      () ->
                          host.kvm()
                              .ops()
                              .topupExternalPerVmSplitCache(host.kvm(), PageLevel.LEVEL_2M))
                  .join());
      long topups = host.count(TdxCounter.SPLIT_CACHE_TOPUPS);

      assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

      assertThat(host.count(MmuCounter.LOCK_DROPS_TOPUP)).as(design.name()).isEqualTo(1 + 1);
      assertThat(host.count(TdxCounter.SPLIT_CACHE_TOPUPS) - topups).isEqualTo(1);
      assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
      assertThat(host.kvm().splitCacheCount()).isZero();
      host.assertSound();
    }
  }
}
