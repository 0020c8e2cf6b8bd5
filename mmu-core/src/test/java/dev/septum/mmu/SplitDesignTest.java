package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.ArgumentMatchers.eq;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.doReturn;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.times;
import static org.mockito.Mockito.verify;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.SplitDesign.Errors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Each decision of the posted series, beside the sound one where the two differ. */
class SplitDesignTest {

  private static final long GFN = 0x200;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final SplitDesign POSTED_THAT_RETURNS =
      SplitDesign.POSTED_V3.withErrors(Errors.RETURNED);

  private static TestVm td(SplitDesign design) {
    return TestVm.of(VmType.TDX, MmuParams.of(SpteFormat.eptForTd()).withSplitDesign(design));
  }

  /** A TD with 2M leafs at 0x200 and 0x400, each in a slot of its own. */
  private static TestVm tdWithTwoLeafs(SplitDesign design) {
    TestVm vm = td(design);
    for (long gfn = GFN; gfn < GFN + 0x400; gfn += 0x200) {
      vm.addPrivate(gfn, 0x200, HUGE);
      vm.map(gfn, TestVm.PRIVATE_WRITE);
    }
    assertThat(vm.leafCounts()).containsExactly(0L, 2L, 0L);
    return vm;
  }

  private static Errno split(TestVm vm, LockMode mode) {
    vm.mmuLock().lock(mode);
    try {
      return vm.mmu.splitCrossBoundaryLeafs(
          GfnRange.ofPages(GFN + 1, 1), mode, SplitCause.MEMORY_ATTRIBUTES);
    } finally {
      vm.mmuLock().unlock(mode);
    }
  }

  private static Errno share(TestVm vm, long start, long end) {
    return vm.mmu.memory().setAttributes(new GfnRange(start, end), false);
  }

  private static void refuseSplits(TestVm vm, Errno error) {
    doReturn(error)
        .when(vm.ops)
        .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());
  }

  /** What the mirror has in the leaf's place while the backend is asked to split it. */
  private static long mirrorSeenByTheBackend(TestVm vm) {
    long[] seen = new long[1];
    doAnswer(
            call -> {
              MmuPage root = vm.mirrorRoot();
              TdpIter iter = new TdpIter(vm.mmu, root, HUGE, GFN, GFN + 1);
              while (iter.level() != HUGE) {
                iter.next();
              }
              seen[0] = iter.oldSpte();
              return call.callRealMethod();
            })
        .when(vm.ops)
        .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());
    assertThat(split(vm, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);
    return seen[0];
  }

  @Test
  void mirrorFirst_theBackendFindsTheMirrorSplit() {
    TestVm vm = tdWithTwoLeafs(SplitDesign.POSTED_V3);
    assertThat(vm.mmu.format().isPresentTable(mirrorSeenByTheBackend(vm), HUGE)).isTrue();
    vm.assertSoundAndDestroy();
  }

  @Test
  void externalFirst_theBackendFindsTheMirrorFrozen() {
    TestVm vm = tdWithTwoLeafs(SplitDesign.SOUND);
    assertThat(mirrorSeenByTheBackend(vm)).isEqualTo(SpteFormat.FROZEN);
    vm.assertSoundAndDestroy();
  }

  @ParameterizedTest
  @EnumSource(names = {"EIO", "EBUSY", "EAGAIN"})
  void mirrorFirst_aRefusal_isIgnored_andTheMirrorStaysSplit(Errno error) {
    TestVm vm = tdWithTwoLeafs(SplitDesign.POSTED_V3);
    refuseSplits(vm, error);

    assertThat(split(vm, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);

    assertThat(vm.leafCounts()).containsExactly(512L, 1L, 0L);
    assertThat(vm.ops.leafs()).hasSize(2).containsEntry(GFN, HUGE);
  }

  @Test
  void mirrorFirst_underTheReadLock_aRefusalRestoresTheLeaf() {
    TestVm vm = tdWithTwoLeafs(POSTED_THAT_RETURNS);
    TestVm.State before = vm.state();
    refuseSplits(vm, Errno.EOPNOTSUPP);

    assertThat(split(vm, LockMode.SHARED)).isEqualTo(Errno.EOPNOTSUPP);

    assertThat(vm.state()).isEqualTo(before);
    vm.assertSoundAndDestroy();
  }

  @Test
  void mirrorFirst_aTableWithoutItsPage_bugsTheVm_andGetsToTheBackend() {
    TestVm vm = tdWithTwoLeafs(SplitDesign.POSTED_V3);
    refuseSplits(vm, Errno.EIO);
    vm.mmu.plantedBugs().failNext(KvmMmu.LOST_EXTERNAL_SPT, 1);

    assertThat(split(vm, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);

    vm.assertBugged("mirror table without an external page");
    verify(vm.ops)
        .splitExternalSpte(eq(vm), eq(GFN), eq(HUGE), anyLong(), eq(PageAllocator.NO_PAGE), any());
    assertThat(vm.leafCounts()).containsExactly(512L, 1L, 0L);
  }

  @ParameterizedTest
  @EnumSource
  void externalFirst_aTableWithoutItsPage_bugsTheVm_andNeverGetsToTheBackend(LockMode mode) {
    TestVm vm = tdWithTwoLeafs(SplitDesign.SOUND);
    TestVm.State before = vm.state();
    vm.mmu.plantedBugs().failNext(KvmMmu.LOST_EXTERNAL_SPT, 1);

    assertThat(split(vm, mode)).isEqualTo(Errno.EIO);

    vm.assertBugged("mirror table without an external page");
    verify(vm.ops, never()).splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());
    assertThat(vm.state()).isEqualTo(before);
    vm.assertSoundAndDestroy();
  }

  @Test
  void mirrorFirst_anyOtherChangeOfAPresentEntry_bugsTheVm() {
    TestVm vm = tdWithTwoLeafs(SplitDesign.POSTED_V3);
    long leaf = vm.spte(vm.mirrorRoot(), GFN, HUGE);

    vm.write(vm.mirrorRoot(), GFN, HUGE, LockMode.EXCLUSIVE, leaf);

    vm.assertBugged("illegal change of a mirror SPTE");
  }

  @ParameterizedTest
  @CsvSource({"RETURNED, ENOMEM, -12", "STORED_IN_BOOL, ONE, 1"})
  void anErrorOfASplit_isReturnedOrBecomes1(Errors errors, Errno expected, int code) {
    TestVm vm = tdWithTwoLeafs(SplitDesign.POSTED_V3.withErrors(errors));
    TestVm.State before = vm.state();
    vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 1);

    Errno error = split(vm, LockMode.EXCLUSIVE);

    assertThat(error).isEqualTo(expected);
    assertThat(error.code()).isEqualTo(code);
    assertThat(vm.state()).isEqualTo(before);
    assertThat(split(vm, LockMode.EXCLUSIVE)).as("success").isEqualTo(Errno.OK);
    vm.assertSoundAndDestroy();
  }

  @Test
  void slotBySlot_anErrorInTheSecondSlot_findsTheFirstZapped() {
    TestVm vm = tdWithTwoLeafs(POSTED_THAT_RETURNS);
    vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 2);

    assertThat(share(vm, GFN + 0x100, GFN + 0x300)).isEqualTo(Errno.ENOMEM);

    assertThat(vm.leafCounts()).containsExactly(0x100L, 1L, 0L);
    assertThat(vm.view.isPrivate(GFN + 0x100)).isTrue();
    assertThat(vm.view.violations()).containsExactly("an invalidation was begun and never ended");
  }

  @Test
  void splitAllThenZap_anErrorInTheSecondSlot_findsAllMapped() {
    TestVm vm = tdWithTwoLeafs(SplitDesign.SOUND);
    vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 2);

    assertThat(share(vm, GFN + 0x100, GFN + 0x300)).isEqualTo(Errno.ENOMEM);

    assertThat(vm.leafCounts()).containsExactly(512L, 1L, 0L);
    assertThat(vm.view.isPrivate(GFN + 0x100)).isTrue();
    vm.assertSoundAndDestroy();
  }

  @Test
  void storedInBool_theSlotIsNotZapped_theOthersAre_andAllAttributesChange() {
    TestVm vm = tdWithTwoLeafs(SplitDesign.POSTED_V3);
    vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 1);

    assertThat(share(vm, GFN + 0x100, GFN + 0x300)).isEqualTo(Errno.OK);

    // The first slot's leaf is whole, the second's was split and half of it zapped.
    assertThat(vm.leafCounts()).containsExactly(0x100L, 1L, 0L);
    assertThat(vm.ops.leafs()).containsEntry(GFN, HUGE);
    assertThat(vm.view.isPrivate(GFN + 0x100)).isFalse();
    assertThat(vm.view.isPrivate(GFN + 0x200)).isFalse();
  }

  @Test
  void staysBegun_faultsInTheRangeRetry_othersDoNot() {
    TestVm vm = tdWithTwoLeafs(POSTED_THAT_RETURNS);
    vm.addPrivate(0x800, 0x400, PageLevel.LEVEL_4K);
    vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 1);
    assertThat(share(vm, GFN + 0x100, 0x900)).isEqualTo(Errno.ENOMEM);

    for (int i = 0; i < 10; i++) {
      assertThat(vm.fault(0x880, TestVm.PRIVATE_WRITE)).isEqualTo(FaultOutcome.of(RetPf.RETRY));
    }
    // The rest of the 2M range that the end cuts waits too, what is behind it does not.
    assertThat(vm.fault(0x9ff, TestVm.PRIVATE_WRITE)).isEqualTo(FaultOutcome.of(RetPf.RETRY));
    assertThat(vm.fault(0xa00, TestVm.PRIVATE_WRITE)).isEqualTo(FaultOutcome.of(RetPf.FIXED));
  }

  @Test
  void inPlace_aBackendThatRefusesTheReadLock_isAskedAgainAndAgain() {
    TestVm vm = td(SplitDesign.POSTED_V3);
    Memslot slot = vm.addPrivate(GFN, 0x200, vm.newGmem(0x200, HUGE), 0);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    slot.setGuestInhibit(GFN, HUGE);
    refuseSplits(vm, Errno.EOPNOTSUPP);
    TestVm.State before = vm.state();

    for (int i = 0; i < 10; i++) {
      assertThat(vm.fault(GFN + 9, TestVm.PRIVATE_WRITE)).isEqualTo(FaultOutcome.of(RetPf.RETRY));
    }

    verify(vm.ops, times(10))
        .splitExternalSpte(eq(vm), eq(GFN), eq(HUGE), anyLong(), anyLong(), eq(LockMode.SHARED));
    assertThat(vm.state().dump()).isEqualTo(before.dump());
    assertThat(vm.ops.leafs()).isEqualTo(before.external());
    vm.assertSoundAndDestroy();
  }
}
