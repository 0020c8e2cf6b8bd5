package dev.septum.tdx;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The guest accepts 4K of a 2M leaf that is pending, on a module that splits it as it is: all under
 * the read mmu_lock. Each step that fails leaves leaf and cache as they were.
 *
 * <p>Each page of the module is in a range of its own: a new S-EPT page needs a new pair.
 */
final class ReadLockAcceptTest extends TdTestCase {

  private final Vmm vmm = boot(2, false);
  private final KvmTdx kvm = vmm.kvm();

  ReadLockAcceptTest() {
    super(TdxModuleConfig.defaults().withNonBlockingResize(true), Placement.SCATTERED);
  }

  @BeforeEach
  void mapOnePendingLeaf() {
    vmm.runToHalt(vmm.vcpus().get(1), GuestProgram.of());
    touch(0, GFN + 7);
    assertThat(mirrorLeaf(kvm, GFN).level()).isEqualTo(PageLevel.LEVEL_2M);
  }

  private RunExit run(int vcpu, OneInstruction instruction) {
    vmm.vcpus().get(vcpu).boot(GuestProgram.of(instruction));
    return vmm.vcpus().get(vcpu).run();
  }

  private GuestOutcome completed(int vcpu, OneInstruction instruction) {
    assertThat(run(vcpu, instruction)).isEqualTo(new RunExit.Halt());
    return instruction.outcome();
  }

  /** Has the host map what is not accepted. */
  private void touch(int vcpu, long gfn) {
    assertThat(completed(vcpu, OneInstruction.write(gfn << 12)))
        .isInstanceOf(GuestOutcome.VirtualizationException.class);
  }

  private void accept(int vcpu, long gfn) {
    assertThat(completed(vcpu, OneInstruction.accept4K(gfn)))
        .isEqualTo(new GuestOutcome.Status(TdxStatus.TDX_SUCCESS));
  }

  private void assertAcceptFails(Errno error) {
    assertThat(run(0, OneInstruction.accept4K(GFN + 7)))
        .isInstanceOfSatisfying(
            RunExit.Failed.class, failed -> assertThat(failed.error()).isEqualTo(error));
    assertThat(isInhibited(PageLevel.LEVEL_2M)).isFalse();
    assertThat(isInhibited(PageLevel.LEVEL_1G)).isFalse();
    assertThat(kvm.isBugged()).isFalse();
  }

  private boolean isInhibited(PageLevel level) {
    return slot(GFN).hasGuestInhibit(GFN, level);
  }

  private Memslot slot(long gfn) {
    return requireNonNull(kvm.mmu().memslots().find(gfn));
  }

  private void assertIsSplit(int accepted) {
    List<SeptLeaf> leafs =
        view().leafs(kvm.tdr() << 12).stream()
            .filter(leaf -> leaf.gpa() >>> 12 >= GFN && leaf.gpa() >>> 12 < GFN + 512)
            .toList();
    assertThat(leafs).hasSize(512).allMatch(leaf -> leaf.level() == 0);
    assertThat(leafs).filteredOn(leaf -> leaf.state() == SeptState.MAPPED).hasSize(accepted);
    assertThat(isInhibited(PageLevel.LEVEL_2M)).isTrue();
    assertThat(isInhibited(PageLevel.LEVEL_1G)).isTrue();
  }

  private long count(TdxCounter counter) {
    return kvm.counters().get(counter);
  }

  private long count(MmuCounter counter) {
    return kvm.mmu().counters().get(counter);
  }

  @Test
  void aSplitForAnAccept_takesNoWriteLock_blocksNothing_andKicksNobody() {
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);
    accept(0, GFN + 7);

    assertIsSplit(1);
    assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero();
    assertThat(calls(SeamcallLeaf.TDH_MEM_TRACK)).isZero();
    assertThat(count(TdxCounter.KICKS)).isZero();
    assertThat(kvm.mmu().splits().get(SplitCause.GUEST_ACCEPT)).isEqualTo(1);
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
  }

  @Test
  void anAcceptOfWhatIsNotMapped_takesNoWriteLockEither() {
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);
    accept(0, GFN + 512);
    assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table"})
  void withoutATable_isEnomemAndChangesNothing(String place) {
    WholeState before = state(kvm);
    host.pages().faults().failNext(place, 1);

    assertAcceptFails(Errno.ENOMEM);
    assertThat(state(kvm)).isEqualTo(before);
    accept(0, GFN + 7);
    assertIsSplit(1);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void withoutThePagesForThePamt_isEnomem_andTheCacheKeepsWhatItGot(int n) {
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), n);

    assertAcceptFails(Errno.ENOMEM);
    assertThat(kvm.splitCacheCount()).isEqualTo(n - 1);
    assertThat(mirrorLeaf(kvm, GFN).level()).isEqualTo(PageLevel.LEVEL_2M);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
    accept(0, GFN + 7);
    assertIsSplit(1);
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
  }

  /** What the split takes is back: the cache as after its topup, all else as before it. */
  private void assertUndoneByEio() {
    assertThat(kvm.splitCache().topup(PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
    WholeState before = state(kvm);

    assertAcceptFails(Errno.EIO);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(count(TdxCounter.BUSY_RETRIES)).isZero();
    injector().clear();
    accept(0, GFN + 7);
    assertIsSplit(1);
  }

  @ParameterizedTest
  @ValueSource(
      longs = {
        TdxStatus.TDX_INTERRUPTED_RESTARTABLE,
        TdxStatus.TDX_OPERAND_INVALID,
        TdxStatus.TDX_PAGE_NOT_FREE
      })
  void demoteInterruptedOrRefused_isEioAndChangesNothing(long status) {
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, status);
    assertUndoneByEio();
    assertThat(count(TdxCounter.SPLITS_UNDONE)).isEqualTo(1);
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_BACK)).isEqualTo(4);
  }

  @ParameterizedTest
  @ValueSource(longs = {TdxStatus.TDX_OPERAND_BUSY, TdxStatus.TDX_OPERAND_INVALID})
  void pamtAddRefused_isEioAndChangesNothing(long status) {
    injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, status);
    assertUndoneByEio();
    // Nothing was taken, so nothing had to be undone.
    assertThat(count(TdxCounter.SPLITS_UNDONE)).isZero();
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(1);
  }

  @Test
  void demoteRefused_andThePairStuck_isEioAndTheCacheLacksThatPair() {
    letPagesStay(); // The module keeps the pair of the table's range for good.
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_INVALID);
    injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, 1, TdxStatus.TDX_OPERAND_INVALID);

    assertAcceptFails(Errno.EIO);
    assertThat(kvm.splitCacheCount()).isEqualTo(2);
    assertThat(tdx.dpamt().stuckRanges()).hasSize(1);
    accept(0, GFN + 7);
    assertIsSplit(1);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5})
  void demoteBusy_sendsTheGuestBackIntoTheAccept_untilItIsNot(int times) {
    for (int n = 1; n <= times; n++) {
      injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, n, TdxStatus.TDX_OPERAND_BUSY);
    }
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);
    accept(0, GFN + 7);

    assertIsSplit(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(times + 1);
    assertThat(count(TdxCounter.SPLITS_UNDONE)).isEqualTo(times);
    assertThat(count(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isEqualTo(times + 1);
    assertThat(count(TdxCounter.KICKS)).isZero();
    assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes);
    // The same four pages each time.
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
    assertThat(kvm.splitCacheCount()).isZero();
  }

  @Test
  void aPairThatAnotherGetInstalledFirst_goesBackIntoTheCache() {
    long[] others = new long[1];
    // Between the count of 0 and pamt_lock, another user of the S-EPT page's range comes first.
    kernel.beforeNext(
        LockClass.PAMT_LOCK,
        () -> {
          others[0] = unbackedSeptPage();
          kernel
              .spawn("other", () -> assertThat(tdx.dpamt().get(others[0])).isEqualTo(Errno.OK))
              .join();
        });
    accept(0, GFN + 7);
    assertIsSplit(1);
    assertThat(kvm.splitCacheCount()).isEqualTo(2);
    tdx.dpamt().put(others[0]);
  }

  /** The page for the S-EPT table of the split in progress: the last one, and without a pair. */
  private long unbackedSeptPage() {
    for (long pfn = host.pages().totalPages() - 1; pfn >= 0; pfn--) {
      if (host.pages().ownerOf(pfn) == PageOwner.EXTERNAL_PAGE_TABLE
          && tdx.dpamt().refcount(pfn) == 0) {
        return pfn;
      }
    }
    throw new AssertionError("no S-EPT page without a pair");
  }

  /** The loser has read the leaf and filled its table when the other one's split is published. */
  @Test
  void aLeafSplitByAnotherVcpuBeforeTheExchange_isLeftAlone_andTheSpareTableFreed() {
    kernel.beforeNextTable(() -> kernel.spawn("vCPU 1", () -> accept(1, GFN + 8)).join());
    accept(0, GFN + 7);

    assertIsSplit(2);
    assertOneSplitOfTwo();
    assertThat(count(MmuCounter.SPLIT_RETRIES)).isEqualTo(1);
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
  }

  /** The loser waits for mmu_lock after its topup. */
  @Test
  void aLeafSplitByAnotherVcpuWhileTheLockIsDropped_isLeftAlone_andTheSpareTableFreed() {
    kernel.beforeNext(
        LockClass.MMU_LOCK,
        () ->
            kernel.beforeNext(
                LockClass.MMU_LOCK,
                () ->
                    kernel.beforeNext(
                        LockClass.MMU_LOCK,
                        () -> kernel.spawn("vCPU 1", () -> accept(1, GFN + 8)).join())));
    accept(0, GFN + 7);

    assertIsSplit(2);
    assertOneSplitOfTwo();
    assertThat(count(MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
    assertThat(count(MmuCounter.SPLIT_RETRIES)).isZero();
  }

  private void assertOneSplitOfTwo() {
    assertThat(count(MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(count(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(1);
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
    assertThat(count(TdxCounter.SPLITS_UNDONE)).isZero();
    assertThat(kvm.splitCacheCount()).isZero();
    assertNoSpareIsLeft();
  }

  /** No table but those linked and those in vCPUs' caches; no page for S-EPT but theirs. */
  private void assertNoSpareIsLeft() {
    long cached = vmm.vcpus().stream().mapToLong(VcpuTdx::cachedSeptPages).sum();
    assertThat(pagesOf(PageOwner.EXTERNAL_PAGE_TABLE)).isEqualTo(cached);
    assertThat(HostInvariants.violations(tdx, List.of(vmm))).isEmpty();
  }

  /**
   * One vCPU has frozen the leaf and stands before the cache's lock; others meet the frozen entry.
   */
  private KernelThread freezeLeaf(Gate gate) {
    assertThat(kvm.splitCache().topup(PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
    kernel.beforeNext(LockClass.PREALLOC_SPLIT_CACHE_LOCK, gate::pass);
    KernelThread splitter = kernel.spawn("vCPU 0", () -> accept(0, GFN + 7));
    gate.awaitArrival();
    return splitter;
  }

  @Test
  void anAcceptThatMeetsAFrozenLeaf_waitsOutsideTheLock_andFindsItSplit() {
    Gate gate = new Gate();
    KernelThread splitter = freezeLeaf(gate);
    KernelThread other = kernel.spawn("vCPU 1", () -> accept(1, GFN + 8));
    Gate.awaitUntil(() -> count(MmuCounter.SPLIT_RETRIES) > 2, "vCPU 1 at the frozen entry");
    assertThat(isInhibited(PageLevel.LEVEL_2M)).isFalse();
    gate.open();
    splitter.join();
    other.join();

    assertIsSplit(2);
    assertThat(count(MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(1);
    assertThat(count(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
    assertNoSpareIsLeft();
  }

  @Test
  void anAcceptThatMeetsAFrozenLeaf_whoseSplitFails_splitsItItself() {
    Gate gate = new Gate();
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_INVALID);
    assertThat(kvm.splitCache().topup(PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
    kernel.beforeNext(LockClass.PREALLOC_SPLIT_CACHE_LOCK, gate::pass);
    KernelThread splitter =
        kernel.spawn(
            "vCPU 0",
            () ->
                assertThat(run(0, OneInstruction.accept4K(GFN + 7)))
                    .isInstanceOf(RunExit.Failed.class));
    gate.awaitArrival();
    KernelThread other = kernel.spawn("vCPU 1", () -> accept(1, GFN + 8));
    Gate.awaitUntil(() -> count(MmuCounter.SPLIT_RETRIES) > 2, "vCPU 1 at the frozen entry");
    gate.open();
    splitter.join();
    other.join();

    assertIsSplit(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(2);
    assertThat(count(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
    assertNoSpareIsLeft();
  }

  @Test
  void aFaultThatMeetsAFrozenLeaf_triesAgainUntilItIsSplit() {
    Gate gate = new Gate();
    KernelThread splitter = freezeLeaf(gate);
    // With the flag set the ACCEPT does not split, and its fault comes to the frozen entry.
    slot(GFN).setGuestInhibit(GFN, PageLevel.LEVEL_2M);
    KernelThread other = kernel.spawn("vCPU 1", () -> accept(1, GFN + 8));
    Gate.awaitUntil(() -> count(MmuCounter.FAULT_RETRIES) > 2, "vCPU 1 at the frozen entry");
    gate.open();
    splitter.join();
    other.join();

    assertIsSplit(2);
    assertThat(count(MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    assertNoSpareIsLeft();
  }

  /**
   * The split found no leaf; a fault of another vCPU maps one at 2M before the flags are set. The
   * ACCEPT would fault for ever if nobody split it.
   */
  @Test
  void aLeafMappedBetweenTheSplitAndTheFlags_isSplitByTheFaultThatFollows() {
    long gfn = GFN + 512;
    kernel.beforeNextExchange(() -> kernel.spawn("vCPU 1", () -> touch(1, gfn + 8)).join());
    accept(0, gfn + 7);

    assertThat(mirrorLeaf(kvm, gfn).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(kvm.mmu().splits().get(SplitCause.GUEST_ACCEPT)).isZero();
    assertThat(kvm.mmu().splits().get(SplitCause.FAULT)).isEqualTo(1);
    assertThat(count(TdxCounter.ACCEPT_EPT_VIOLATIONS)).isEqualTo(1);
    assertThat(slot(gfn).hasGuestInhibit(gfn, PageLevel.LEVEL_2M)).isTrue();
  }
}
