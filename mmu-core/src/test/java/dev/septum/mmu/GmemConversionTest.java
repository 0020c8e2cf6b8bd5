package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.ArgumentMatchers.eq;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.doReturn;

import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.GuestMemfd.Conversion;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Conversions in place: the pages stay, what they may be mapped as changes. */
class GmemConversionTest {

  private static final long GFN = 0x40000;
  private static final Conversion DONE = new Conversion(Errno.OK, -1);

  private final TestVm vm = TestVm.td();
  private final GuestMemfd gmem = vm.addPrivate(GFN, 0x400, PageLevel.LEVEL_2M);

  @BeforeEach
  void mapTwoLeafs() {
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    vm.map(GFN + 0x200, TestVm.PRIVATE_WRITE);
    assertThat(vm.leafCounts()).containsExactly(0L, 2L, 0L);
    vm.events.clear();
  }

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private List<String> externalEvents() {
    return vm.events.stream().filter(event -> event.contains("external")).toList();
  }

  private FaultOutcome sharedFault(long gfn) {
    return vm.fault(gfn | TestVm.SHARED_BIT, TestVm.WRITE);
  }

  @Test
  void toShared_splitsWhatSticksOut_zapsJustTheRange_andKeepsThePages() {
    long pfn = gmem.pfnAt(5);
    long seq = vm.mmu.invalidate().seq();

    assertThat(gmem.convertToShared(5, 6)).isEqualTo(DONE);

    assertThat(externalEvents())
        .containsExactly(
            "split_external_spte: gfn 40000 level 2", "remove_external_spte: gfn 40005 level 1");
    assertThat(vm.leafCounts()).containsExactly(511L, 1L, 0L);
    assertThat(vm.mmu.splits().get(SplitCause.CONVERSION)).isEqualTo(1);
    assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq + 1);
    assertThat(vm.flushes()).isEqualTo(1);
    assertThat(gmem.pfnAt(5)).isEqualTo(pfn);
    assertThat(vm.pages().census()).containsEntry(PageOwner.GUEST_MEMORY, 0x400L);
    assertThat(gmem.isShared(4)).isFalse();
    assertThat(gmem.isShared(5)).isTrue();
    assertThat(vm.view.isPrivate(GFN + 5)).isFalse();
  }

  @ParameterizedTest(name = "[{0}, {1}): {2} splits, {3} 4K leafs, {4} 2M leafs")
  @CsvSource({
    "0, 0x200, 0, 0, 1",
    "0, 0x400, 0, 0, 0",
    "0x10, 0x20, 1, 496, 1",
    "0, 0x210, 1, 496, 0",
    "0x1f0, 0x400, 1, 496, 0",
    "0x1ff, 0x201, 2, 1022, 0",
  })
  void toShared_splitsAtItsEndsOnly(long start, long end, long splits, long small, long huge) {
    assertThat(gmem.convertToShared(start, end)).isEqualTo(DONE);
    assertThat(vm.leafCounts()).containsExactly(small, huge, 0L);
    assertThat(vm.mmu.splits().get(SplitCause.CONVERSION)).isEqualTo(splits);
  }

  @Test
  void converted_isReachedThroughTheDirectRoot_inPlace() {
    assertThat(gmem.convertToShared(0x10, 0x20)).isEqualTo(DONE);

    assertThat(vm.fault(GFN + 0x10, TestVm.PRIVATE_WRITE).error()).isEqualTo(Errno.EFAULT);
    assertThat(sharedFault(GFN + 0x10)).isEqualTo(FaultOutcome.of(RetPf.FIXED));
    assertThat(sharedFault(GFN + 0x20).error()).isEqualTo(Errno.EFAULT);
    assertThat(vm.view.directLeafs())
        .singleElement()
        .satisfies(
            leaf -> {
              assertThat(leaf.pfn()).isEqualTo(gmem.pfnAt(0x10));
              assertThat(leaf.level()).isEqualTo(PageLevel.LEVEL_4K);
            });
  }

  @Test
  void toPrivate_unmapsTheSharedPages_withoutASplit_andThePrivateFaultGetsTheSamePage() {
    long pfn = gmem.pfnAt(0x10);
    assertThat(gmem.convertToShared(0x10, 0x20)).isEqualTo(DONE);
    assertThat(sharedFault(GFN + 0x10)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertThat(gmem.convertToPrivate(0, 0x200)).isEqualTo(DONE);

    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.mmu.splits().get(SplitCause.CONVERSION)).isEqualTo(1);
    assertThat(sharedFault(GFN + 0x10).error()).isEqualTo(Errno.EFAULT);
    assertThat(vm.fault(GFN + 0x10, TestVm.PRIVATE_WRITE)).isEqualTo(FaultOutcome.of(RetPf.FIXED));
    assertThat(vm.view.mirrorLeafs())
        .anyMatch(leaf -> leaf.gfn() == GFN + 0x10 && leaf.pfn() == pfn);
    assertThat(vm.leafCounts()).containsExactly(512L - 15, 1L, 0L);
  }

  @ParameterizedTest
  @ValueSource(strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table"})
  void toShared_withoutMemory_namesTheFirstFrame_andConvertsNothing(String place) {
    long seq = vm.mmu.invalidate().seq();
    TestVm.State before = vm.state();
    vm.pages().faults().failNext(place, 1);

    assertThat(gmem.convertToShared(0x10, 0x20)).isEqualTo(new Conversion(Errno.ENOMEM, 0x10));

    assertThat(vm.state()).isEqualTo(before);
    assertThat(gmem.isShared(0x10)).isFalse();
    assertThat(vm.mmu.invalidate().isInProgress()).isFalse();
    assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq + 1);
  }

  @Test
  void toShared_theTailsSplitFails_leavesTheHeadSplitAndEverythingPrivate() {
    doReturn(Errno.EIO)
        .when(vm.ops)
        .splitExternalSpte(any(), eq(GFN + 0x200), any(), anyLong(), anyLong(), any());

    assertThat(gmem.convertToShared(0x1ff, 0x201)).isEqualTo(new Conversion(Errno.EIO, 0x1ff));

    assertThat(vm.leafCounts()).containsExactly(512L, 1L, 0L);
    assertThat(gmem.isShared(0x1ff)).isFalse();
  }

  @Test
  void rangeThatCannotBe_isEinval() {
    for (long[] range : new long[][] {{-1, 1}, {1, 1}, {2, 1}, {0x3ff, 0x401}}) {
      assertThat(gmem.convertToShared(range[0], range[1]))
          .isEqualTo(new Conversion(Errno.EINVAL, range[0]));
      assertThat(gmem.convertToPrivate(range[0], range[1]))
          .isEqualTo(new Conversion(Errno.EINVAL, range[0]));
    }
    assertThat(vm.leafCounts()).containsExactly(0L, 2L, 0L);
  }

  /** The range is extended to whole folios: a neighbour must not be mapped huge meanwhile. */
  @Test
  void toShared_faultsInItsFoliosRetryUntilItIsDone() {
    assertThat(gmem.punchHole(0x200, 0x400)).isEqualTo(Errno.OK);
    VcpuMmu other = vm.newVcpu();
    List<RetPf> seen = new ArrayList<>();
    List<Boolean> needs = new ArrayList<>(List.of(true));
    doAnswer(call -> !needs.isEmpty()).when(vm.ops).needTopupExternalPerVmSplitCache(any(), any());
    doAnswer(
            call -> {
              needs.clear();
              seen.add(vm.mmu.handleFault(other, (GFN + 5) << 12, TestVm.PRIVATE_WRITE).result());
              seen.add(
                  vm.mmu.handleFault(other, (GFN + 0x300) << 12, TestVm.PRIVATE_WRITE).result());
              return Errno.OK;
            })
        .when(vm.ops)
        .topupExternalPerVmSplitCache(any(), any());

    assertThat(gmem.convertToShared(0x10, 0x210)).isEqualTo(DONE);

    assertThat(seen).containsExactly(RetPf.RETRY, RetPf.RETRY);
    vm.map(GFN + 0x300, TestVm.PRIVATE_WRITE);
    assertThat(vm.leafCounts()).as("half of its folio is shared").containsExactly(16L + 1, 0L, 0L);
  }

  @Test
  void hole_inWhatWasConverted_unmapsItFromTheDirectRootToo() {
    assertThat(gmem.convertToShared(0x10, 0x20)).isEqualTo(DONE);
    assertThat(sharedFault(GFN + 0x10)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertThat(gmem.punchHole(0x10, 0x11)).isEqualTo(Errno.OK);

    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(gmem.pfnAt(0x10)).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(gmem.isShared(0x10)).as("what a hole leaves").isTrue();
  }
}
