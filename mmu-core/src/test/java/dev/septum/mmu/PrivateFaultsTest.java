package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.ArgumentMatchers.eq;
import static org.mockito.Mockito.clearInvocations;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.doReturn;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.verify;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockChecker.LockViolation;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Faults of VMs whose gfns can be private. */
class PrivateFaultsTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
  private static final FaultOutcome SPURIOUS = FaultOutcome.of(RetPf.SPURIOUS);
  private static final FaultOutcome RETRY = FaultOutcome.of(RetPf.RETRY);

  private static FaultOutcome memoryFault(Errno error, long gfn, boolean isPrivate) {
    return new FaultOutcome(
        RetPf.ERROR, error, new FaultOutcome.MemoryFault(gfn << 12, 4096, isPrivate));
  }

  @Nested
  class SoftwareProtected {

    private final TestVm vm = TestVm.swProtected();

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    @Test
    void accessToAPrivateGfn_isPrivateWhateverItsErrorCodeSays() {
      vm.addPrivate(GFN, 1, SMALL);

      assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

      assertThat(new MmuView(vm.mmu).directLeafs())
          .singleElement()
          .satisfies(
              leaf -> {
                assertThat(leaf.gfn()).isEqualTo(GFN);
                assertThat(vm.mmu.kvm().pages().ownerOf(leaf.pfn()))
                    .isEqualTo(PageOwner.GUEST_MEMORY);
              });
    }

    @Test
    void privateAccessToASharedGfn_exits() {
      vm.addShared(GFN, 1);

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE))
          .isEqualTo(memoryFault(Errno.EFAULT, GFN, true));
    }

    @Test
    void privateAccessWithoutASlot_exits() {
      assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 1), true)).isEqualTo(Errno.OK);

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE))
          .isEqualTo(memoryFault(Errno.EFAULT, GFN, true));
    }

    @Test
    void privateAccessToASlotWithoutGmem_exits() {
      vm.addShared(GFN, 1);
      assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 1), true)).isEqualTo(Errno.OK);

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE))
          .isEqualTo(memoryFault(Errno.EFAULT, GFN, true));
    }

    @Test
    void gmemWithoutMemory_exitsWithEnomem() {
      vm.addPrivate(GFN, 1, SMALL);
      vm.pages().faults().failNext(PageOwner.GUEST_MEMORY.tag(), 1);

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE))
          .isEqualTo(memoryFault(Errno.ENOMEM, GFN, true));

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(FIXED);
    }

    @Test
    void releasedGmem_exitsAndAllocatesNothing() {
      GuestMemfd gmem = vm.addPrivate(GFN, 1, SMALL);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      gmem.release();

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE))
          .isEqualTo(memoryFault(Errno.EFAULT, GFN, true));

      assertThat(vm.view.directLeafs()).isEmpty();
      assertThat(vm.pages().census()).containsEntry(PageOwner.GUEST_MEMORY, 0L);
    }

    @Test
    void privatePage_goesIntoTheDirectRoot() {
      GuestMemfd gmem = vm.addPrivate(GFN, 0x200, HUGE);

      assertThat(vm.fault(GFN + 3, TestVm.PRIVATE_WRITE)).isEqualTo(FIXED);

      assertThat(vm.view.directLeafs())
          .containsExactly(
              new MappedLeaf(
                  GFN, HUGE, gmem.pfnAt(0), 0x8600000000000bf7L | (gmem.pfnAt(0) << 12)));
      verify(vm.ops, never()).setExternalSpte(any(), anyLong(), any(), anyLong());
    }
  }

  @Nested
  class Td {

    private final TestVm vm = TestVm.td();

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    @Test
    void privateAndSharedAccess_goToTheirOwnRoots() {
      GuestMemfd gmem = vm.addPrivate(GFN, 1, SMALL);
      vm.addShared(GFN + 1, 1);

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(FIXED);
      assertThat(vm.fault((GFN + 1) | TestVm.SHARED_BIT, TestVm.WRITE)).isEqualTo(FIXED);

      assertThat(vm.view.mirrorLeafs())
          .containsExactly(
              new MappedLeaf(
                  GFN, SMALL, gmem.pfnAt(0), 0x8600000000000b37L | (gmem.pfnAt(0) << 12)));
      assertThat(vm.view.directLeafs())
          .containsExactly(new MappedLeaf(GFN + 1, SMALL, GFN + 1, 0x8600000040001b37L));
      assertThat(vm.view.mirrorTables()).hasSize(3);
      assertThat(vm.pages().census()).containsEntry(PageOwner.SEPT_PAGE, 3L);
    }

    @Test
    void sharedMmio_givesTheGuestAVe() {
      assertThat(vm.fault(GFN | TestVm.SHARED_BIT, TestVm.WRITE))
          .isEqualTo(FaultOutcome.of(RetPf.EMULATE));

      assertThat(vm.view.dump()).contains("nonpresent L1 gfn=0x40000 spte=0x0000000040000000\n");
    }

    @ParameterizedTest
    @EnumSource(
        value = Errno.class,
        names = {"EBUSY", "EIO"})
    void linkOpFails_retriesAndFreesTheFreshTable(Errno errno) {
      vm.addPrivate(GFN, 1, SMALL);
      String before = vm.view.dump();
      doReturn(errno).when(vm.ops).linkExternalSpt(any(), anyLong(), any(), anyLong());

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(RETRY);

      assertThat(vm.view.dump()).isEqualTo(before);
      assertThat(vm.pages().census())
          .containsEntry(PageOwner.EXTERNAL_PAGE_TABLE, 0L)
          .containsEntry(PageOwner.MMU_PAGE_TABLE, vm.view.tables() + vm.view.cachedTables());
    }

    @Test
    void setOpFailsOnce_retriesAndThenMaps() {
      vm.addPrivate(GFN, 1, SMALL);
      doReturn(Errno.EBUSY)
          .doCallRealMethod()
          .when(vm.ops)
          .setExternalSpte(any(), anyLong(), any(), anyLong());

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(RETRY);
      assertThat(vm.view.mirrorLeafs()).isEmpty();
      assertThat(vm.view.mirrorTables()).hasSize(3);
      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(FIXED);

      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    }

    @Test
    void noExternalPage_retriesAndLinksNothing() {
      vm.addPrivate(GFN, 1, SMALL);
      String before = vm.view.dump();
      doReturn(PageAllocator.NO_PAGE).when(vm.ops).allocExternalFaultCache(any());

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(RETRY);

      assertThat(vm.view.dump()).isEqualTo(before);
    }

    @Test
    void externalCacheCannotBeFilled_isItsErrorBeforeAnyOtherAllocation() {
      vm.addPrivate(GFN, 1, SMALL);
      TestVm.State before = vm.state();
      clearInvocations(vm.ops);
      doReturn(Errno.ENOMEM).when(vm.ops).topupExternalFaultCache(any(), anyInt());

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(FaultOutcome.error(Errno.ENOMEM));

      assertThat(vm.state()).isEqualTo(before);
      verify(vm.ops).topupExternalFaultCache(vm.vcpu.vcpu(), 5);
    }

    @Test
    void otherVcpuDuringTheOp_findsTheEntryFrozenAndRetries() {
      vm.addPrivate(GFN, 1, SMALL);
      VcpuMmu other = vm.newVcpu();
      AtomicReference<FaultOutcome> seen = new AtomicReference<>();
      doAnswer(
              call -> {
                vm.kernel()
                    .spawn(
                        "other vcpu",
                        () -> seen.set(vm.mmu.handleFault(other, GFN << 12, TestVm.PRIVATE_WRITE)))
                    .join();
                return call.callRealMethod();
              })
          .when(vm.ops)
          .setExternalSpte(any(), anyLong(), any(), anyLong());

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(FIXED);

      assertThat(seen.get()).isEqualTo(RETRY);
      assertThat(vm.mmu.handleFault(other, GFN << 12, TestVm.PRIVATE_WRITE)).isEqualTo(SPURIOUS);
      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    }

    @Test
    void twoVcpus_onTheSamePrivatePages_callTheBackendOnceForEach() {
      vm.addPrivate(GFN, 0x200, SMALL);
      List<KernelThread> threads = new ArrayList<>();
      for (VcpuMmu vcpu : List.of(vm.vcpu, vm.newVcpu())) {
        threads.add(vm.kernel().spawn("vcpu " + vcpu.vcpu().id(), () -> touchAll(vcpu)));
      }
      threads.forEach(KernelThread::join);

      assertThat(vm.leafCounts()).containsExactly(0x200L, 0L, 0L);
      assertThat(vm.ops.leafs()).hasSize(0x200);
    }

    private void touchAll(VcpuMmu vcpu) {
      for (long gfn = GFN; gfn < GFN + 0x200; gfn++) {
        FaultOutcome outcome = RETRY;
        while (outcome.equals(RETRY)) {
          outcome = vm.mmu.handleFault(vcpu, gfn << 12, TestVm.PRIVATE_WRITE);
        }
        assertThat(outcome).isIn(FIXED, SPURIOUS);
      }
    }

    @Test
    void mirrorLeafInTheWay_isSplitUnderTheReadLock() {
      mapHugeThenForbidIt();

      assertThat(vm.fault(GFN + 9, TestVm.PRIVATE_WRITE)).isEqualTo(RETRY);

      assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
      verify(vm.ops)
          .splitExternalSpte(eq(vm), eq(GFN), eq(HUGE), anyLong(), anyLong(), eq(LockMode.SHARED));
      assertThat(vm.mmu.splits().get(SplitCause.FAULT)).isEqualTo(1);
      assertThat(vm.fault(GFN + 9, TestVm.PRIVATE_WRITE)).isEqualTo(SPURIOUS);
    }

    @Test
    void mirrorLeafInTheWay_ofABackendThatNeedsTheWriteLock_isSplitUnderThat() {
      mapHugeThenForbidIt();
      doReturn(Errno.EOPNOTSUPP)
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), eq(LockMode.SHARED));

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(RETRY);

      assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
      verify(vm.ops)
          .splitExternalSpte(
              eq(vm), eq(GFN), eq(HUGE), anyLong(), anyLong(), eq(LockMode.EXCLUSIVE));
    }

    @Test
    void mirrorLeafInTheWay_ofABackendThatCannotSplit_isAnError() {
      mapHugeThenForbidIt();
      TestVm.State before = vm.state();
      doReturn(Errno.EOPNOTSUPP)
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE))
          .isEqualTo(FaultOutcome.error(Errno.EOPNOTSUPP));

      assertThat(vm.state()).isEqualTo(before);
    }

    @Test
    void mirrorLeafInTheWay_backendBusy_retriesLater() {
      mapHugeThenForbidIt();
      TestVm.State before = vm.state();
      doReturn(Errno.EBUSY)
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(RETRY);

      assertThat(vm.state()).isEqualTo(before);
    }

    @Test
    void mirrorLeafInTheWay_noMemoryForTheSplit_isEnomem() {
      mapHugeThenForbidIt();
      TestVm.State before = vm.state();
      vm.pages().faults().failNext(PageOwner.EXTERNAL_PAGE_TABLE.tag(), 1);

      assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE)).isEqualTo(FaultOutcome.error(Errno.ENOMEM));

      assertThat(vm.state()).isEqualTo(before);
    }

    private void mapHugeThenForbidIt() {
      GuestMemfd gmem = vm.newGmem(0x200, HUGE);
      Memslot slot = vm.addPrivate(GFN, 0x200, gmem, 0);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
      slot.setGuestInhibit(GFN, HUGE);
    }
  }

  /** Pages mapped while a TD is built. */
  @Nested
  class Populate {

    private final TestVm vm = TestVm.td();

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    @Test
    void privatePage_isMappedAt4KWithoutTheAccessedBit() {
      GuestMemfd gmem = vm.addPrivate(GFN, 0x200, HUGE);

      assertThat(populate(GFN + 1)).isEqualTo(Errno.OK);

      long pfn = gmem.pfnAt(1);
      assertThat(vm.view.mirrorLeafs())
          .containsExactly(new MappedLeaf(GFN + 1, SMALL, pfn, 0x8600000000000a37L | (pfn << 12)));
    }

    @Test
    void pageThatIsMappedAlready_isEio() {
      vm.addPrivate(GFN, 1, SMALL);
      assertThat(populate(GFN)).isEqualTo(Errno.OK);
      TestVm.State before = vm.state();

      assertThat(populate(GFN)).isEqualTo(Errno.EIO);

      assertThat(vm.state()).isEqualTo(before);
    }

    @Test
    void gfnThatIsNotPrivateMemory_isEinval() {
      vm.addShared(0x1000, 1);
      GuestMemfd gmem = vm.addPrivate(GFN, 1, SMALL);
      vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 1), false);

      assertThat(populate(0x2000)).isEqualTo(Errno.EINVAL);
      assertThat(populate(0x1000)).isEqualTo(Errno.EINVAL);
      assertThat(populate(GFN)).isEqualTo(Errno.EINVAL);

      assertThat(gmem.pfnAt(0)).isEqualTo(PageAllocator.NO_PAGE);
    }

    @Test
    void noGuestMemory_isEnomem() {
      vm.addPrivate(GFN, 1, SMALL);
      vm.pages().faults().failNext(PageOwner.GUEST_MEMORY.tag(), 1);

      assertThat(populate(GFN)).isEqualTo(Errno.ENOMEM);
      assertThat(vm.view.mirrorLeafs()).isEmpty();
    }

    @Test
    void noTables_isEnomem() {
      vm.addPrivate(GFN, 1, SMALL);
      doReturn(Errno.ENOMEM).when(vm.ops).topupExternalFaultCache(any(), anyInt());

      assertThat(populate(GFN)).isEqualTo(Errno.ENOMEM);
      assertThat(vm.view.mirrorLeafs()).isEmpty();
    }

    @Test
    void busyBackend_isTriedAgain() {
      vm.addPrivate(GFN, 1, SMALL);
      doReturn(Errno.EBUSY)
          .doReturn(Errno.EBUSY)
          .doCallRealMethod()
          .when(vm.ops)
          .setExternalSpte(any(), anyLong(), any(), anyLong());

      assertThat(populate(GFN)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    }

    @Test
    void buggedVm_endsTheRetries() {
      vm.addPrivate(GFN, 1, SMALL);
      doAnswer(
              call -> {
                vm.bugOn(true, "the module said no");
                return Errno.EIO;
              })
          .when(vm.ops)
          .setExternalSpte(any(), anyLong(), any(), anyLong());

      assertThat(populate(GFN)).isEqualTo(Errno.EIO);

      vm.assertBugged("the module said no");
      assertThat(vm.view.mirrorLeafs()).isEmpty();
    }

    @Test
    void withoutSlotsLock_isReported() {
      vm.addPrivate(GFN, 1, SMALL);

      assertThatExceptionOfType(LockViolation.class)
          .isThrownBy(() -> vm.mmu.mapPrivatePage(vm.vcpu, GFN))
          .withMessageContaining("slots_lock");
    }

    private Errno populate(long gfn) {
      vm.slotsLock().lock();
      try {
        return vm.mmu.mapPrivatePage(vm.vcpu, gfn);
      } finally {
        vm.slotsLock().unlock();
      }
    }
  }
}
