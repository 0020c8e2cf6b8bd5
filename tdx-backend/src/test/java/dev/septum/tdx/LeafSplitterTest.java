package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A split of one 2M leaf under the write mmu_lock, step by step: each step that fails leaves all as
 * it was. The new S-EPT page's range has its page pair already.
 */
final class LeafSplitterTest extends TdTestCase {

  private static final long BUSY = TdxStatus.TDX_OPERAND_BUSY;
  private static final long REFUSED = TdxStatus.TDX_OPERAND_INVALID;

  private final Vmm vmm = boot();
  private final KvmTdx kvm = vmm.kvm();

  @BeforeEach
  void mapOneLeafAndFillTheCache() {
    accept2M(vmm, GFN, 1);
    assertThat(kvm.splitCache().topup(PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
  }

  private Errno split() {
    return split(kvm, GFN + 0x10, LockMode.EXCLUSIVE);
  }

  private List<SeptLeaf> septLeafs() {
    long start = GFN << 12;
    return view().leafs(kvm.tdr() << 12).stream()
        .filter(leaf -> leaf.gpa() >= start && leaf.gpa() < start + 2 * MIB)
        .toList();
  }

  private void assertIsSplit() {
    assertThat(septLeafs()).hasSize(512).allMatch(leaf -> leaf.state() == SeptState.MAPPED);
    assertThat(mirrorLeaf(kvm, GFN).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(kvm.isBugged()).isFalse();
  }

  @Test
  void split_givesTheModuleOneTableAndOnePair() {
    long pfn = mirrorLeaf(kvm, GFN).pfn();
    long pages4K = kvm.stats().get(VmStat.PAGES_4K);
    long septPages = pagesOf(PageOwner.SEPT_PAGE);
    long pamtPages = pagesOf(PageOwner.PAMT_PAGE);

    assertThat(split()).isEqualTo(Errno.OK);
    assertIsSplit();
    assertThat(kvm.stats().get(VmStat.PAGES_4K)).isEqualTo(pages4K + 512);
    assertThat(kvm.stats().get(VmStat.PAGES_2M)).isZero();
    assertThat(kvm.splitCacheCount()).isEqualTo(2);
    assertThat(tdx.dpamt().refcount(pfn)).isEqualTo(512);
    assertThat(view().pamtPairs()).containsKey(pfn << 12);
    assertThat(pagesOf(PageOwner.SEPT_PAGE)).isEqualTo(septPages + 1);
    assertThat(pagesOf(PageOwner.PAMT_PAGE)).isEqualTo(pamtPages + 2);
    assertThat(kvm.counters().get(TdxCounter.BUSY_RETRIES)).isZero();
  }

  @Test
  void split_isBlockTrackDemoteAndNothingElse() {
    Map<SeamcallLeaf, Long> before = tdx.module().calls();
    assertThat(split()).isEqualTo(Errno.OK);
    for (SeamcallLeaf leaf : SeamcallLeaf.values()) {
      long expected =
          switch (leaf) {
            case TDH_MEM_RANGE_BLOCK, TDH_MEM_TRACK, TDH_MEM_PAGE_DEMOTE -> 1;
            default -> 0;
          };
      assertThat(calls(leaf) - before.getOrDefault(leaf, 0L)).as("%s", leaf).isEqualTo(expected);
    }
  }

  @Test
  void split_takesItsPagesBeforeItBlocks() {
    kernel.beforeNext(
        LockClass.PREALLOC_SPLIT_CACHE_LOCK,
        () -> assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero());
    assertThat(split()).isEqualTo(Errno.OK);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isEqualTo(1);
  }

  @ParameterizedTest(name = "{0} BUSY once")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void busyOnce_isRetriedWithTheSamePages(SeamcallLeaf leaf) {
    injector().failNext(leaf, 1, BUSY);
    assertThat(split()).isEqualTo(Errno.OK);
    assertIsSplit();
    assertThat(calls(leaf)).isEqualTo(2);
    assertThat(kvm.counters().get(TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    assertThat(kvm.counters().get(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(2);
    assertThat(kvm.splitCacheCount()).isEqualTo(2);
    assertThat(kvm.isWaitingForSeptZap()).isFalse();
  }

  @ParameterizedTest(name = "{0} BUSY twice")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void busyTwice_isEbusyAndChangesNothing(SeamcallLeaf leaf) {
    WholeState before = state(kvm);
    injector().failNext(leaf, 1, BUSY);
    injector().failNext(leaf, 2, BUSY);

    assertThat(split()).isEqualTo(Errno.EBUSY);
    assertUndone(before);
    assertThat(kvm.counters().get(TdxCounter.BUSY_RETRIES)).isEqualTo(1);
  }

  @ParameterizedTest(name = "{0} refused")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void hardError_isEioAndChangesNothing(SeamcallLeaf leaf) {
    WholeState before = state(kvm);
    injector().failNext(leaf, 1, REFUSED);

    assertThat(split()).isEqualTo(Errno.EIO);
    assertUndone(before);
    assertThat(kvm.counters().get(TdxCounter.BUSY_RETRIES)).isZero();
  }

  @ParameterizedTest(name = "{0} BUSY, then refused")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void busyThenHardError_isEioAndChangesNothing(SeamcallLeaf leaf) {
    WholeState before = state(kvm);
    injector().failNext(leaf, 1, BUSY);
    injector().failNext(leaf, 2, REFUSED);

    assertThat(split()).isEqualTo(Errno.EIO);
    assertUndone(before);
  }

  @Test
  void unblockBusyOnce_isRetried() {
    WholeState before = state(kvm);
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, REFUSED);
    injector().failNext(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, 1, BUSY);

    assertThat(split()).isEqualTo(Errno.EIO);
    assertUndone(before);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK)).isEqualTo(2);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void unblockRefusedForGood_bugsTheVm_butThePagesGoBack(boolean busy) {
    letPagesStay(); // KVM cannot remove a leaf that is blocked already, so the TD keeps it.
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, REFUSED);
    injector().failAlways(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK, busy ? BUSY : REFUSED);

    assertThat(split()).isEqualTo(Errno.EIO);
    assertThat(kvm.isBugged()).isTrue();
    assertThat(String.valueOf(kvm.splat())).contains("leaf stays blocked after a failed split");
    assertThat(septLeafs()).extracting(SeptLeaf::state).containsExactly(SeptState.BLOCKED);
    assertThat(kvm.splitCacheCount()).isEqualTo(4);
  }

  /** All is as before, and a second attempt finds nothing in its way. */
  private void assertUndone(WholeState before) {
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(kvm.isBugged()).isFalse();
    assertThat(kvm.isWaitingForSeptZap()).isFalse();
    assertThat(kvm.counters().get(TdxCounter.SPLITS_UNDONE)).isEqualTo(1);
    assertThat(kvm.counters().get(TdxCounter.SPLIT_CACHE_PAGES_BACK)).isEqualTo(2);
    injector().clear();
    assertThat(split()).isEqualTo(Errno.OK);
    assertIsSplit();
  }

  @Test
  void underTheReadLock_isNotSupportedAndTakesNothing() {
    WholeState before = state(kvm);
    Map<SeamcallLeaf, Long> calls = tdx.module().calls();

    assertThat(split(kvm, GFN + 0x10, LockMode.SHARED)).isEqualTo(Errno.EOPNOTSUPP);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(tdx.module().calls()).isEqualTo(calls);
    assertThat(kvm.isBugged()).isFalse();
    assertThat(split()).isEqualTo(Errno.OK);
  }

  @Test
  void aheadOfNeed_underTheReadLock_isNotSupportedEither() {
    WholeState before = state(kvm);
    assertThat(splitAhead(kvm, GFN, 512, LockMode.SHARED)).isEqualTo(Errno.EOPNOTSUPP);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(splitAhead(kvm, GFN, 512, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);
    assertIsSplit();
  }

  @Test
  void ofAnotherLevelThan2M_bugsTheVm() {
    MappedLeaf leaf = mirrorLeaf(kvm, GFN);
    long page = host.pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
    kvm.mmuLock().lock(LockMode.EXCLUSIVE);
    Errno error =
        kvm.ops()
            .splitExternalSpte(kvm, GFN, PageLevel.LEVEL_1G, leaf.spte(), page, LockMode.EXCLUSIVE);
    kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
    host.pages().freePage(page, PageOwner.EXTERNAL_PAGE_TABLE);

    assertThat(error).isEqualTo(Errno.EIO);
    assertThat(kvm.isBugged()).isTrue();
    assertThat(kvm.splitCacheCount()).isEqualTo(4);
  }

  @Test
  void demote_waitsForPamtLock_soThatNoPamtAddMeetsItsPages() {
    Gate atTheLock = new Gate();
    KernelThread[] splitter = new KernelThread[1];
    whileHeldElsewhere(
        kernel.spinLocks(LockClass.PAMT_LOCK).get(0),
        () -> {
          kernel.beforeNext(LockClass.PAMT_LOCK, atTheLock::pass);
          splitter[0] = kernel.spawn("split", () -> assertThat(split()).isEqualTo(Errno.OK));
          atTheLock.awaitArrival();
          assertThat(calls(SeamcallLeaf.TDH_MEM_TRACK)).isEqualTo(1);
          atTheLock.open();
          assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
        });
    splitter[0].join();
    assertIsSplit();
  }

  @Test
  void demote_doesNotHoldTheCacheLock_soATopupGoesOn() {
    kernel.beforeNext(
        LockClass.PAMT_LOCK,
        () ->
            kernel
                .spawn(
                    "topup",
                    () ->
                        assertThat(kvm.splitCache().topup(PageLevel.LEVEL_2M)).isEqualTo(Errno.OK))
                .join());
    assertThat(split()).isEqualTo(Errno.OK);
    assertThat(kvm.splitCacheCount()).isEqualTo(4);
  }

  @Test
  void split_ofALeafThatIsSplit_findsNothingToDo() {
    assertThat(split()).isEqualTo(Errno.OK);
    WholeState before = state(kvm);
    assertThat(split()).isEqualTo(Errno.OK);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(kvm.mmu().counters().get(MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
  }
}
