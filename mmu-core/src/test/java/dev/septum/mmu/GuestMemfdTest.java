package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.doReturn;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

class GuestMemfdTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;

  private final TestVm vm = TestVm.td();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void assertGuestMemory(long pages) {
    assertThat(vm.pages().census()).containsEntry(PageOwner.GUEST_MEMORY, pages);
  }

  @Nested
  class Folios {

    @Test
    void hugeFolio_backsItsWholeBlockAtOnce() {
      GuestMemfd gmem = vm.newGmem(0x400, HUGE);

      GuestMemfd.Lookup found = gmem.getPfn(5);

      assertThat(found.error()).isEqualTo(Errno.OK);
      assertThat(found.maxLevel()).isEqualTo(HUGE);
      assertThat(found.pfn() % 512).isEqualTo(5);
      assertThat(gmem.pfnAt(511)).isEqualTo(found.pfn() + 506);
      assertThat(gmem.pfnAt(512)).isEqualTo(PageAllocator.NO_PAGE);
      assertGuestMemory(512);
      assertThat(gmem.getPfn(5)).isEqualTo(found);
    }

    @Test
    void smallFolios_comeOneByOne() {
      GuestMemfd gmem = vm.newGmem(0x400, SMALL);

      GuestMemfd.Lookup found = gmem.getPfn(5);

      assertThat(found.maxLevel()).isEqualTo(SMALL);
      assertThat(gmem.getPfn(5)).isEqualTo(found);
      assertThat(gmem.pfnAt(4)).isEqualTo(PageAllocator.NO_PAGE);
      assertGuestMemory(1);
    }

    @Test
    void blockThatTheFileCuts_isBackedBySmallPages() {
      GuestMemfd gmem = vm.newGmem(0x2ff, HUGE);

      assertThat(gmem.getPfn(0x1ff).maxLevel()).isEqualTo(HUGE);
      assertThat(gmem.getPfn(0x200).maxLevel()).isEqualTo(SMALL);
      assertGuestMemory(513);
    }

    @Test
    void noHugeFolio_fallsBackToSmallPagesForGood() {
      GuestMemfd gmem = vm.newGmem(0x200, HUGE);
      vm.pages().faults().failNext(PageOwner.GUEST_MEMORY.tag(), 1);

      assertThat(gmem.getPfn(0).maxLevel()).isEqualTo(SMALL);
      assertThat(gmem.getPfn(1).maxLevel()).isEqualTo(SMALL);

      assertGuestMemory(2);
    }

    @Test
    void noPageAtAll_isEnomemAndMayBeTriedAgain() {
      GuestMemfd gmem = vm.newGmem(0x200, SMALL);
      vm.pages().faults().failNext(PageOwner.GUEST_MEMORY.tag(), 1);

      assertThat(gmem.allocate(0)).isEqualTo(Errno.ENOMEM);
      assertThat(gmem.pfnAt(0)).isEqualTo(PageAllocator.NO_PAGE);
      assertThat(gmem.allocate(0)).isEqualTo(Errno.OK);
    }

    @Test
    void allocate_outsideTheFile_isEinval() {
      GuestMemfd gmem = vm.newGmem(4, SMALL);

      assertThat(gmem.frames()).isEqualTo(4);
      assertThat(gmem.allocate(-1)).isEqualTo(Errno.EINVAL);
      assertThat(gmem.allocate(4)).isEqualTo(Errno.EINVAL);
      assertGuestMemory(0);
    }

    @Test
    void fileThatCannotBe_isRefusedWithTheValue() {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> vm.newGmem(0, SMALL))
          .withMessage("a guest_memfd needs at least one frame, not 0");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> vm.newGmem(1, PageLevel.LEVEL_1G))
          .withMessage("folios of level LEVEL_1G do not exist");
    }

    @Test
    void punchedPartOfAFolio_breaksItAndKeepsTheRest() {
      GuestMemfd gmem = vm.newGmem(0x200, HUGE);
      long first = gmem.getPfn(0).pfn();

      assertThat(gmem.punchHole(0x10, 0x20)).isEqualTo(Errno.OK);

      assertThat(gmem.pfnAt(0xf)).isEqualTo(first + 0xf);
      assertThat(gmem.pfnAt(0x10)).isEqualTo(PageAllocator.NO_PAGE);
      assertThat(gmem.pfnAt(0x20)).isEqualTo(first + 0x20);
      assertThat(gmem.getPfn(0x20).maxLevel()).isEqualTo(SMALL);
      assertGuestMemory(512 - 16);
      assertThat(gmem.allocate(0x10)).isEqualTo(Errno.OK);
      assertGuestMemory(512 - 15);
    }

    @Test
    void punchedWholeBlock_isAFolioAgainNextTime() {
      GuestMemfd gmem = vm.newGmem(0x400, HUGE);
      gmem.allocate(0);
      gmem.allocate(0x200);
      assertThat(gmem.punchHole(0x10, 0x20)).isEqualTo(Errno.OK);

      assertThat(gmem.punchHole(0, 0x200)).isEqualTo(Errno.OK);

      assertGuestMemory(512);
      assertThat(gmem.getPfn(0).maxLevel()).isEqualTo(HUGE);
    }

    @Test
    void hole_acrossBlocksAndBeyondTheEnd_takesWhatIsThere() {
      GuestMemfd gmem = vm.newGmem(0x400, HUGE);
      gmem.allocate(0);
      gmem.allocate(0x200);

      assertThat(gmem.punchHole(0x1ff, 0x1000)).isEqualTo(Errno.OK);

      assertGuestMemory(0x1ff);
      assertThat(gmem.punchHole(0x1000, 0x2000)).isEqualTo(Errno.OK);
      assertGuestMemory(0x1ff);
    }

    @Test
    void hole_thatCannotBe_isEinval() {
      GuestMemfd gmem = vm.newGmem(4, SMALL);

      assertThat(gmem.punchHole(-1, 1)).isEqualTo(Errno.EINVAL);
      assertThat(gmem.punchHole(1, 1)).isEqualTo(Errno.EINVAL);
      assertThat(gmem.punchHole(2, 1)).isEqualTo(Errno.EINVAL);
    }
  }

  @Nested
  class Bound {

    @Test
    void hole_insideAHugeLeaf_splitsItAndZapsJustThePage() {
      GuestMemfd gmem = vm.addPrivate(GFN, 0x200, HUGE);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      long seq = vm.mmu.invalidate().seq();
      vm.events.clear();

      assertThat(gmem.punchHole(5, 6)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(511L, 0L, 0L);
      assertThat(vm.view.mirrorLeafs())
          .extracting(MappedLeaf::gfn)
          .doesNotContain(GFN + 5)
          .contains(GFN + 4, GFN + 6);
      assertThat(vm.events.stream().filter(e -> e.contains("external")))
          .containsExactly(
              "split_external_spte: gfn 40000 level 2", "remove_external_spte: gfn 40005 level 1");
      assertThat(vm.mmu.splits().get(SplitCause.PUNCH_HOLE)).isEqualTo(1);
      assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq + 1);
      assertThat(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isEqualTo(1);
      assertThat(vm.view.isPrivate(GFN + 5)).isTrue();
      assertGuestMemory(511);
    }

    @Test
    void hole_overWholeLeafs_zapsThemWithoutASplit() {
      GuestMemfd gmem = vm.addPrivate(GFN, 0x400, HUGE);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      vm.map(GFN + 0x200, TestVm.PRIVATE_WRITE);

      assertThat(gmem.punchHole(0, 0x200)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
      assertThat(vm.mmu.splits().get(SplitCause.PUNCH_HOLE)).isZero();
      assertThat(vm.mmu.counters().get(MmuCounter.HUGE_LEAFS_ZAPPED)).isEqualTo(1);
    }

    @Test
    void hole_overTwoSlots_splitsAllBeforeItZapsAny() {
      GuestMemfd gmem = bindTwice();
      vm.events.clear();

      assertThat(gmem.punchHole(0x1ff, 0x201)).isEqualTo(Errno.OK);

      assertThat(vm.events.stream().filter(e -> e.contains("external")))
          .containsExactly(
              "split_external_spte: gfn 80000 level 2",
              "split_external_spte: gfn 40000 level 2",
              "remove_external_spte: gfn 801ff level 1",
              "remove_external_spte: gfn 40000 level 1");
      assertThat(vm.leafCounts()).containsExactly(1022L, 0L, 0L);
      assertGuestMemory(1022);
    }

    @Test
    void hole_aSplitFails_removesNothingAndEndsTheInvalidation() {
      GuestMemfd gmem = bindTwice();
      long seq = vm.mmu.invalidate().seq();
      doReturn(Errno.EIO)
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());
      TestVm.State before = vm.state();

      assertThat(gmem.punchHole(0x1ff, 0x201)).isEqualTo(Errno.EIO);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.mmu.invalidate().isInProgress()).isFalse();
      assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq + 1);
    }

    @Test
    void hole_theSecondSlotsSplitFails_removesNothingOfTheFirst() {
      GuestMemfd gmem = bindTwice();
      vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 2);

      assertThat(gmem.punchHole(0x1ff, 0x201)).isEqualTo(Errno.ENOMEM);

      assertThat(vm.leafCounts()).containsExactly(512L, 1L, 0L);
      assertThat(gmem.pfnAt(0x1ff)).isNotEqualTo(PageAllocator.NO_PAGE);
      assertGuestMemory(1024);
    }

    @Test
    void hole_faultsInItsRangeRetryUntilItIsThere() {
      GuestMemfd gmem = vm.addPrivate(GFN, 0x200, HUGE);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      VcpuMmu other = vm.newVcpu();
      List<FaultOutcome> seen = new ArrayList<>();
      List<Boolean> needs = new ArrayList<>(List.of(true));
      doAnswer(call -> !needs.isEmpty())
          .when(vm.ops)
          .needTopupExternalPerVmSplitCache(any(), any());
      doAnswer(
              call -> {
                needs.clear();
                seen.add(vm.mmu.handleFault(other, (GFN + 5) << 12, TestVm.PRIVATE_WRITE));
                return Errno.OK;
              })
          .when(vm.ops)
          .topupExternalPerVmSplitCache(any(), any());

      assertThat(gmem.punchHole(5, 6)).isEqualTo(Errno.OK);

      assertThat(seen).containsExactly(FaultOutcome.of(RetPf.RETRY));
      assertThat(vm.mmu.handleFault(other, (GFN + 5) << 12, TestVm.PRIVATE_WRITE))
          .isEqualTo(FaultOutcome.of(RetPf.FIXED));
    }

    @Test
    void slotDeletedDuringAHolePunch_keepsItsBindingUntilTheInvalidationEnded() {
      GuestMemfd gmem = vm.addPrivate(GFN, 0x200, HUGE);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      List<KernelThread> deleter = new ArrayList<>();
      List<Boolean> slotThere = new ArrayList<>();
      doAnswer(call -> deleter.isEmpty())
          .when(vm.ops)
          .needTopupExternalPerVmSplitCache(any(), any());
      doAnswer(
              call -> {
                deleter.add(vm.kernel().spawn("deleter", this::deleteSlot));
                Signal.awaitUntil(() -> vm.ops.leafs().isEmpty(), "the deleter to zap the slot");
                slotThere.add(slotStays());
                return Errno.OK;
              })
          .when(vm.ops)
          .topupExternalPerVmSplitCache(any(), any());

      assertThat(gmem.punchHole(5, 6)).isEqualTo(Errno.OK);
      deleter.get(0).join();

      assertThat(slotThere).containsExactly(true);
      assertThat(vm.mmu.memslots().byId(0)).isNull();
      assertThat(vm.mmu.invalidate().isInProgress()).isFalse();
      assertGuestMemory(511);
    }

    private void deleteSlot() {
      assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
    }

    /** Gives the deleter every chance to go on; it must be waiting for the file. */
    private boolean slotStays() {
      for (int i = 0; i < 100_000 && vm.mmu.memslots().byId(0) != null; i++) {
        vm.kernel().condResched();
      }
      return vm.mmu.memslots().byId(0) != null;
    }

    @Test
    void release_unmapsAndFreesEverythingForGood() {
      GuestMemfd gmem = bindTwice();

      gmem.release();

      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
      assertGuestMemory(0);
      assertThat(gmem.allocate(0)).isEqualTo(Errno.EFAULT);
      assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
    }

    /** One file of two folios: the second half at {@link #GFN}, the first at twice that. */
    private GuestMemfd bindTwice() {
      GuestMemfd gmem = vm.newGmem(0x400, HUGE);
      vm.addPrivate(2 * GFN, 0x200, gmem, 0);
      vm.addPrivate(GFN, 0x200, gmem, 0x200);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      vm.map(2 * GFN, TestVm.PRIVATE_WRITE);
      assertThat(vm.leafCounts()).containsExactly(0L, 2L, 0L);
      return gmem;
    }
  }
}
