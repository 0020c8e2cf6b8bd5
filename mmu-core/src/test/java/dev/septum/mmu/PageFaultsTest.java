package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import dev.septum.kvm.VmStat;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Faults of an ordinary VM, where every gfn belongs to the direct root. */
class PageFaultsTest {

  private static final long GFN = 0x40000;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
  private static final FaultOutcome SPURIOUS = FaultOutcome.of(RetPf.SPURIOUS);
  private static final FaultOutcome RETRY = FaultOutcome.of(RetPf.RETRY);
  private static final FaultOutcome EMULATE = FaultOutcome.of(RetPf.EMULATE);

  private final TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  @Test
  void firstTouch_mapsThePage() {
    vm.addShared(GFN, 0x200);

    assertThat(vm.fault(GFN + 5, TestVm.READ)).isEqualTo(FIXED);

    assertThat(vm.view.directLeafs())
        .containsExactly(new MappedLeaf(GFN + 5, PageLevel.LEVEL_4K, GFN + 5, 0x8600000040005b77L));
    assertThat(vm.view.tables()).isEqualTo(4);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    assertThat(pf(VcpuStat.PF_TAKEN, VcpuStat.PF_FIXED, VcpuStat.PF_SPURIOUS, VcpuStat.PF_FAST))
        .containsExactly(1L, 1L, 0L, 0L);
  }

  @Test
  void secondTouch_isSpurious() {
    vm.addShared(GFN, 1);
    vm.map(GFN, TestVm.READ);
    TestVm.State before = vm.state();

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(SPURIOUS);
    assertThat(vm.fault(GFN, TestVm.EXEC)).isEqualTo(SPURIOUS);

    assertThat(vm.state()).isEqualTo(before);
    assertThat(pf(VcpuStat.PF_TAKEN, VcpuStat.PF_FIXED, VcpuStat.PF_SPURIOUS))
        .containsExactly(3L, 1L, 2L);
  }

  @Test
  void noSlot_everyAccessIsEmulated_andNothingIsCountedAsMapped() {
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(EMULATE);
    TestVm.State after = vm.state();
    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(EMULATE);

    assertThat(vm.state()).isEqualTo(after);
    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.view.dump()).contains("nonpresent L1 gfn=0x40000 spte=0x0000000040000006\n");
    assertThat(pf(VcpuStat.PF_EMULATE, VcpuStat.PF_MMIO_SPTE_CREATED)).containsExactly(2L, 2L);
  }

  @Test
  void slotWhereMmioWas_hugePageReplacesTheWholeTable() {
    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(EMULATE);
    assertThat(vm.fault(GFN + 1, TestVm.READ)).isEqualTo(EMULATE);
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);

    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FIXED);

    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
    assertThat(vm.view.tables()).isEqualTo(3);
    assertThat(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isEqualTo(1);
  }

  @Test
  void table_givesWayToAHugeLeaf_whenTheHostMapsTheRangeHuge() {
    vm.addShared(GFN, 0x200);
    vm.map(GFN, TestVm.WRITE);
    vm.map(GFN + 1, TestVm.WRITE);
    vm.memory.setLevel(PageLevel.LEVEL_2M);

    assertThat(vm.fault(GFN + 2, TestVm.WRITE)).isEqualTo(FIXED);

    assertThat(vm.view.directLeafs())
        .containsExactly(new MappedLeaf(GFN, PageLevel.LEVEL_2M, GFN, 0x8600000040000bf7L));
    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
    assertThat(vm.view.tables()).isEqualTo(3);
    assertThat(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isEqualTo(1);
  }

  @Test
  void frozenEntry_retriesAndTakesNothing() {
    vm.addShared(GFN, 2);
    vm.map(GFN, TestVm.WRITE);
    vm.corrupt(vm.directRoot(), GFN + 1, PageLevel.LEVEL_4K, SpteFormat.FROZEN);
    TestVm.State before = vm.state();

    assertThat(vm.fault(GFN + 1, TestVm.WRITE)).isEqualTo(RETRY);

    assertThat(vm.state()).isEqualTo(before);
    assertThat(vm.mmu.counters().get(MmuCounter.FAULT_RETRIES)).isEqualTo(1);
    vm.corrupt(vm.directRoot(), GFN + 1, PageLevel.LEVEL_4K, SpteFormat.NONPRESENT);
  }

  @Test
  void invalidationEndedDuringTheLookup_retries() {
    vm.addShared(GFN, 2);
    TestVm.State before = vm.state();
    vm.memory.setOnFaultIn(
        () -> {
          beginInvalidating(GfnRange.ofPages(0, 1));
          endInvalidating();
        });

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(RETRY);

    assertThat(vm.state()).isEqualTo(before);
    vm.memory.setOnFaultIn(() -> {});
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FIXED);
  }

  @Test
  void invalidationBegunDuringTheLookup_retriesInsideItsRangeOnly() {
    vm.addShared(GFN, 3);
    List<GfnRange> ranges = new ArrayList<>(List.of(GfnRange.ofPages(GFN, 2)));
    vm.memory.setOnFaultIn(
        () -> {
          if (!ranges.isEmpty()) {
            beginInvalidating(ranges.remove(0));
          }
        });

    assertThat(vm.fault(GFN + 1, TestVm.WRITE)).isEqualTo(RETRY);
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(RETRY);
    assertThat(vm.fault(GFN + 2, TestVm.WRITE)).isEqualTo(FIXED);

    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    endInvalidating();
  }

  @Test
  void rootReplacedDuringTheLookup_retriesUntilTheVcpuReloads() {
    vm.addShared(GFN, 1);
    vm.memory.setOnFaultIn(
        () ->
            assertThat(vm.mmu.module().setParameter("nx_huge_pages", "force")).isEqualTo(Errno.OK));
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(RETRY);
    vm.memory.setOnFaultIn(() -> {});
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(RETRY);

    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FIXED);
  }

  @Test
  void slotOnItsWayOut_retries() {
    Memslot slot = vm.addShared(GFN, 1);
    slot.invalidate();
    TestVm.State before = vm.state();

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(RETRY);

    assertThat(vm.state()).isEqualTo(before);
  }

  @Test
  void noHostPage_isEfaultWithoutAnExit() {
    vm.addShared(TestMemory.FRAMES, 1);

    assertThat(vm.fault(TestMemory.FRAMES, TestVm.READ))
        .isEqualTo(FaultOutcome.error(Errno.EFAULT));

    assertThat(vm.view.directLeafs()).isEmpty();
  }

  @Test
  void readOnlySlot_mapsReadsAndEmulatesWrites() {
    assertThat(
            vm.mmu
                .memory()
                .setRegion(
                    MemoryRegion.shared(0, GFN, 1, GFN << 12).withFlags(MemoryRegion.READONLY)))
        .isEqualTo(Errno.OK);

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(EMULATE);
    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FIXED);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8000000040000975L);
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(EMULATE);

    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  @Test
  void readOnlyHostPage_isMappedForReadsAndRefusedForWrites() {
    vm.addShared(GFN, 1);
    vm.memory.setWritable(false);

    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FIXED);
    TestVm.State mapped = vm.state();
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FaultOutcome.error(Errno.EFAULT));

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8000000040000975L);
    assertThat(vm.state()).isEqualTo(mapped);
  }

  @Test
  void hostPageThatBecameWritable_isUpgradedInPlace() {
    vm.addShared(GFN, 1);
    vm.memory.setWritable(false);
    vm.map(GFN, TestVm.READ);
    vm.memory.setWritable(true);

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FIXED);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000b77L);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  @Test
  void noTablePage_isEnomemAndNothingChanges() {
    assertEnomem(PageOwner.MMU_PAGE_TABLE.tag());
  }

  @Test
  void noTableHeader_isEnomemAndNothingIsMapped() {
    assertEnomem(MmuPage.HEADER_SLAB);
  }

  private void assertEnomem(String place) {
    vm.addShared(GFN, 1);
    List<MmuPage> drained = new ArrayList<>();
    while (vm.vcpu.cachedTablePages() >= 5) {
      drained.add(vm.vcpu.allocPage());
    }
    String before = vm.view.dump();
    vm.pages().faults().failAlways(place);

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FaultOutcome.error(Errno.ENOMEM));

    assertThat(vm.view.dump()).isEqualTo(before);
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    vm.pages().faults().clear();
    drained.forEach(vm.mmu::freeUnlinked);
    vm.map(GFN, TestVm.WRITE);
  }

  @Test
  void load_withoutMemory_isEnomemAndHasNoRoots() {
    vm.pages().faults().failAlways(PageOwner.MMU_PAGE_TABLE.tag());
    VcpuMmu other = vm.mmu.addVcpu(vm.vcpu.vcpu());

    assertThat(other.load()).isEqualTo(Errno.ENOMEM);

    assertThatIllegalStateException()
        .isThrownBy(other::directRoot)
        .withMessage("the vCPU's MMU is not loaded");
    vm.pages().faults().clear();
  }

  @Test
  void twoVcpus_onTheSamePages_mapEachOnce() {
    vm.addShared(GFN, 0x400);
    VcpuMmu other = vm.newVcpu();
    List<KernelThread> threads = new ArrayList<>();
    for (VcpuMmu vcpu : List.of(vm.vcpu, other)) {
      threads.add(vm.kernel().spawn("vcpu " + vcpu.vcpu().id(), () -> touchAll(vcpu, 0x400)));
    }
    threads.forEach(KernelThread::join);

    assertThat(vm.leafCounts()).containsExactly(0x400L, 0L, 0L);
    assertThat(vm.view.tables()).isEqualTo(5);
    long fixed =
        vm.vcpu.vcpu().stats().get(VcpuStat.PF_FIXED) + other.vcpu().stats().get(VcpuStat.PF_FIXED);
    assertThat(fixed).isEqualTo(0x400);
  }

  private void touchAll(VcpuMmu vcpu, long pages) {
    for (long gfn = GFN; gfn < GFN + pages; gfn++) {
      FaultOutcome outcome = RETRY;
      while (outcome.equals(RETRY)) {
        outcome = vm.mmu.handleFault(vcpu, gfn << 12, TestVm.WRITE);
      }
      assertThat(outcome).isIn(FIXED, SPURIOUS);
    }
  }

  @Test
  void splitForAFault_racingWithAnother_leavesOneTable() {
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(GFN, TestVm.WRITE);
    VcpuMmu other = vm.newVcpu();
    vm.memory.setLevel(PageLevel.LEVEL_4K);
    // Goal 4K and a writable leaf in the way of both: write-protected so that neither is spurious.
    vm.corrupt(
        vm.directRoot(),
        GFN,
        PageLevel.LEVEL_2M,
        vm.mmu.format().writeTrack(vm.peek(vm.directRoot(), GFN)));

    List<KernelThread> threads = new ArrayList<>();
    for (VcpuMmu vcpu : List.of(vm.vcpu, other)) {
      threads.add(vm.kernel().spawn("vcpu " + vcpu.vcpu().id(), () -> touchAll(vcpu, 0x200)));
    }
    threads.forEach(KernelThread::join);

    assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
    assertThat(vm.view.tables()).isEqualTo(4);
    assertThat(vm.mmu.splits().get(SplitCause.FAULT)).isEqualTo(1);
    assertThat(vm.view.directLeafs()).allMatch(leaf -> vm.mmu.format().isWritable(leaf.spte()));
  }

  @Test
  void isAccessible_followsTheLeafsPermissions() {
    vm.addShared(GFN, 2);
    vm.memory.setWritable(false);
    vm.map(GFN, TestVm.READ);

    assertThat(vm.mmu.isAccessible(vm.vcpu, GFN << 12, TestVm.READ)).isTrue();
    assertThat(vm.mmu.isAccessible(vm.vcpu, GFN << 12, TestVm.EXEC)).isTrue();
    assertThat(vm.mmu.isAccessible(vm.vcpu, GFN << 12, TestVm.WRITE)).isFalse();
    assertThat(vm.mmu.isAccessible(vm.vcpu, (GFN + 1) << 12, TestVm.READ)).isFalse();
  }

  private List<Long> pf(VcpuStat... stats) {
    return List.of(stats).stream().map(vm.vcpu.vcpu().stats()::get).toList();
  }

  private void beginInvalidating(GfnRange range) {
    vm.mmu.withMmuLock(
        () -> {
          vm.mmu.invalidate().begin();
          vm.mmu.invalidate().addRange(range);
          return Errno.OK;
        });
  }

  private void endInvalidating() {
    vm.mmu.withMmuLock(
        () -> {
          vm.mmu.invalidate().end();
          return Errno.OK;
        });
  }
}
