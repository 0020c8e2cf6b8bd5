package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.GIB;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.fault;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.share;
import static dev.septum.it.TdScenario.split;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** What only the sound design does in a split: its order, its unwinding, and its races. */
final class SoundSplitTest {

  private static final SeamcallLeaf BLOCK = SeamcallLeaf.TDH_MEM_RANGE_BLOCK;
  private static final SeamcallLeaf UNBLOCK = SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK;
  private static final SeamcallLeaf TRACK = SeamcallLeaf.TDH_MEM_TRACK;
  private static final SeamcallLeaf DEMOTE = SeamcallLeaf.TDH_MEM_PAGE_DEMOTE;
  private static final SeamcallLeaf ADD = SeamcallLeaf.TDH_PHYMEM_PAMT_ADD;
  private static final SeamcallLeaf REMOVE = SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE;

  @RegisterExtension final TdScenario host = TdScenario.scattered();

  @Test
  void t19_thePairOfTheSeptPageComesFirst_thenBlockTrackDemote() {
    Vmm vmm = host.bootWithLeafs(1);
    assertThat(host.orderOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .containsExactly(ADD, BLOCK, TRACK, DEMOTE);
  }

  /** Every page is back in the cache, every count and every permission is as it was. */
  @ParameterizedTest(name = "{0} refused")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void t19_s8_anyRefusedStep_putsTheSeptPage_andUnblocks(SeamcallLeaf leaf) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_INVALID);

    List<SeamcallLeaf> order =
        host.orderOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.EIO));

    assertThat(order)
        .isEqualTo(
            Map.of(
                    BLOCK, List.of(ADD, BLOCK, REMOVE),
                    // UNBLOCK wants a TRACK, and gets the one that failed.
                    TRACK, List.of(ADD, BLOCK, TRACK, UNBLOCK, TRACK, UNBLOCK, REMOVE),
                    DEMOTE, List.of(ADD, BLOCK, TRACK, DEMOTE, UNBLOCK, REMOVE))
                .get(leaf));
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_BACK)).isEqualTo(4);
    assertThat(vmm.kvm().isBugged()).isFalse();
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
  }

  @Test
  void t11_aRefusedPamtAdd_isEio_beforeAnythingIsBlocked() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.injector().failNext(ADD, 1, TdxStatus.TDX_PAGE_NOT_FREE);

    assertThat(host.orderOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.EIO)))
        .containsExactly(ADD);

    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4);
    assertThat(host.count(PamtCounter.ADD_FAILURES)).isEqualTo(1);
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
  }

  @Test
  void t9_demoteBusyOnce_withAnUnbackedSeptPage_isASplitWithFourPages() {
    Vmm vmm = host.bootWithLeafs(1);
    host.injector().failNext(DEMOTE, 1, TdxStatus.TDX_OPERAND_BUSY);
    assertThat(host.orderOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .containsExactly(ADD, BLOCK, TRACK, DEMOTE, DEMOTE);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
    assertThat(count(vmm, TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @ParameterizedTest(name = "{0} BUSY once")
  @CsvSource({"TDH_MEM_RANGE_BLOCK, 2, 1, 1", "TDH_MEM_TRACK, 1, 2, 1"})
  void t10_busyOnceBeforeDemote_movesNoPages(
      SeamcallLeaf leaf, long blocks, long tracks, long demotes) {
    Vmm vmm = host.bootWithLeafs(1);
    host.injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_BUSY);
    assertThat(host.callsOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .isEqualTo(Map.of(ADD, 1L, BLOCK, blocks, TRACK, tracks, DEMOTE, demotes));
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
    assertThat(count(vmm, TdxCounter.BUSY_RETRIES)).isEqualTo(1);
  }

  @Test
  void s9_aPairThatAnotherGetInstalledFirst_goesBackIntoTheCache() {
    Vmm vmm = host.bootWithLeafs(1);
    long[] other = host.otherWinsTheNextGet();
    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
    assertThat(host.count(PamtCounter.LOST_RACES)).isEqualTo(1);
    assertThat(host.tdx().dpamt().refcount(other[0])).isEqualTo(2);
    host.tdx().dpamt().put(other[0]);
  }

  /** A count never is 0 while its pair is still there, so PAMT.ADD is never told NOT_FREE. */
  @Test
  void t13_s10_aPutOnItsWayOut_meetsTheGetOfASplit_andLeavesItThePair() {
    Vmm vmm = host.bootWithLeafs(1);
    List<KernelThread> put = new ArrayList<>();
    // Four topups take the cache's lock, then the get of the S-EPT page does.
    host.kernel().before(LockClass.PREALLOC_SPLIT_CACHE_LOCK, 5, () -> startPut(put));
    long adds = host.calls(ADD);

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    put.forEach(KernelThread::join);

    assertThat(put).hasSize(1);
    assertThat(host.calls(ADD) - adds).as("the other get's only").isEqualTo(1);
    assertThat(host.calls(REMOVE)).isZero();
    assertThat(host.count(PamtCounter.PAIRS_RESCUED)).isZero();
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
  }

  /** Starts a put that has seen a count of 1, and takes pamt_lock only after the split's get. */
  private void startPut(List<KernelThread> put) {
    long page = host.unbackedSeptPage() + 1;
    TwoSteps putThenSplit = new TwoSteps(host.kernel());
    put.add(
        host.kernel()
            .spawn(
                "put",
                () -> {
                  assertThat(host.tdx().dpamt().get(page)).isEqualTo(Errno.OK);
                  host.kernel().before(LockClass.PAMT_LOCK, () -> awaitGet(page, putThenSplit));
                  host.tdx().dpamt().put(page);
                }));
    putThenSplit.awaitFirst();
  }

  private void awaitGet(long page, TwoSteps putThenSplit) {
    putThenSplit.finishFirst();
    while (host.tdx().dpamt().refcount(page) == 1) {
      host.kernel().condResched();
    }
  }

  @Test
  void s18_aSplitUnderTheReadLock_isRefusedWhereTheLeafMustBeBlocked() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    assertThat(
            host.orderOf(
                () ->
                    assertThat(split(vmm, 0x210, 0x220, LockMode.SHARED))
                        .isEqualTo(Errno.EOPNOTSUPP)))
        .isEmpty();
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4);
  }

  @Test
  void s18_aFaultThatMeetsALeaf_splitsItUnderTheWriteLock() {
    Vmm vmm = host.bootWithLeafs(1);
    requireNonNull(vmm.kvm().mmu().memslots().find(GFN)).setGuestInhibit(GFN, PageLevel.LEVEL_2M);

    assertThat(fault(vmm, GFN + 1).result()).isEqualTo(RetPf.RETRY);
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.FAULT)).isEqualTo(1);
    assertThat(host.sept(vmm)).isEqualTo(Map.of("4K " + SeptState.MAPPED, 512L));
  }

  @Test
  void withNonBlockingResize_aConversionSplitsWithoutBlockingTheLeaf() {
    TdScenario resizing =
        TdScenario.of(
            TdxModuleConfig.defaults().withNonBlockingResize(true), Placement.SCATTERED, GIB);
    Vmm vmm = resizing.bootWithLeafs(1);
    assertThat(resizing.orderOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .containsExactly(ADD, DEMOTE);
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(resizing.calls(BLOCK)).isEqualTo(16);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(496);
    assertThat(leafs2M(vmm)).isEmpty();
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    resizing.afterTest();
  }
}
