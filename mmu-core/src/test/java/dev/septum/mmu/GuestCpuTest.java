package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

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

/** A vCPU as hardware runs it: what it does itself, and what it exits for. */
class GuestCpuTest {

  private static final long GFN = 0x40000;
  private static final long GPA = GFN << 12;
  private static final long RIP = 0x1000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final long LEAF = 0x8600000040000b77L;
  private static final GuestCpu.Access DONE = access(GuestCpu.Result.DONE);
  private static final GuestCpu.Access MMIO = access(GuestCpu.Result.MMIO);

  private TestVm vm = TestVm.ordinary();
  private GuestCpu cpu = new GuestCpu(vm.vcpu);

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
    cpu = new GuestCpu(vm.vcpu);
  }

  private static GuestCpu.Access access(GuestCpu.Result result) {
    return new GuestCpu.Access(result, Errno.OK, null);
  }

  private static GuestCpu.Access failed(Errno error) {
    return new GuestCpu.Access(GuestCpu.Result.ERROR, error, null);
  }

  private GuestCpu.Access read(long gpa) {
    return cpu.access(AccessKind.READ, gpa, RIP);
  }

  private GuestCpu.Access write(long gpa) {
    return cpu.access(AccessKind.WRITE, gpa, RIP);
  }

  private GuestCpu.Access exec(long gpa) {
    return cpu.access(AccessKind.EXEC, gpa, RIP);
  }

  private long stat(VcpuStat stat) {
    return vm.vcpu.vcpu().stats().get(stat);
  }

  private static String pageFault(long gpa, String errorCode) {
    return "kvm_page_fault: vcpu 0 rip 0x1000 address 0x%016x error_code %s"
        .formatted(gpa, errorCode);
  }

  @Test
  void firstAccess_exitsOnce_theNextNeedsNobody() {
    vm.addShared(GFN, 1);

    assertThat(write(GPA + 8)).isEqualTo(DONE);
    assertThat(Events.only(vm.takeEvents(), "kvm_page_fault"))
        .containsExactly(pageFault(GPA + 8, "0x100000006"));
    assertThat(write(GPA)).isEqualTo(DONE);
    assertThat(read(GPA)).isEqualTo(DONE);
    assertThat(exec(GPA)).isEqualTo(DONE);

    assertThat(vm.takeEvents()).isEmpty();
    assertThat(stat(VcpuStat.EXITS)).isEqualTo(1);
    assertThat(stat(VcpuStat.PF_FIXED)).isEqualTo(1);
    assertThat(vm.vcpu.vcpu().guestMode().isInGuest()).isFalse();
  }

  @Test
  void errorCodes_sayWhatTheAccessWasAndWhatTheWalkFound() {
    vm.addShared(GFN, 2);
    vm.memory.setWritable(false);
    read(GPA);
    exec(GPA + 0x1000);
    vm.memory.setWritable(true);
    write(GPA);
    read(GPA + 0x5000);
    read(GPA + 0x6000);
    vm.vcpu.mmioCache().remember(1);
    read(GPA + 0x5000);

    assertThat(Events.only(vm.takeEvents(), "kvm_page_fault"))
        .containsExactly(
            pageFault(GPA, "0x100000004"),
            pageFault(GPA + 0x1000, "0x100000014"),
            pageFault(GPA, "0x100000007"),
            pageFault(GPA + 0x5000, "0x100000004"),
            pageFault(GPA + 0x6000, "0x100000004"),
            pageFault(GPA + 0x5000, "0x10000000c"));
  }

  @Test
  void hardware_setsAccessedAndDirtyWithoutAnEvent() {
    vm.addShared(GFN, 1);
    write(GPA);
    vm.poke(GFN, SMALL, LEAF & ~0x300L);
    vm.events.clear();

    assertThat(read(GPA)).isEqualTo(DONE);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(LEAF - 0x200);
    assertThat(write(GPA)).isEqualTo(DONE);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(LEAF);
    assertThat(vm.takeEvents()).isEmpty();
  }

  @Test
  void hardware_withoutAdBits_setsNone() {
    use(TestVm.of(KernelGeneration.LINUX_7_1, SpteFormat.eptWithoutAccessDirty()));
    vm.addShared(GFN, 1);
    read(GPA);
    vm.poke(GFN, SMALL, 0x8610000040000877L);

    assertThat(write(GPA)).isEqualTo(DONE);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8610000040000877L);
  }

  /** The exchange that sets A or D finds the page write-protected: the access must not go on. */
  @Test
  void entryChangesWhileHardwareSetsItsBits_isWalkedAgain() {
    vm.add(MemoryRegion.shared(0, GFN, 1, GPA).withFlags(MemoryRegion.LOG_DIRTY_PAGES));
    write(GPA);
    vm.poke(GFN, SMALL, LEAF - 0x200);
    vm.bitmap().take(0);
    vm.hooks.onExchange(() -> vm.poke(GFN, SMALL, LEAF - 0x202));

    assertThat(write(GPA)).isEqualTo(DONE);

    assertThat(vm.dirty()).containsExactly(0L);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(LEAF);
    assertThat(stat(VcpuStat.PF_FAST)).isEqualTo(1);
  }

  @Test
  void accessTrackedPage_isReportedAsNotPresent_andGivenBackByTheFastPath() {
    use(TestVm.of(KernelGeneration.LINUX_7_1, SpteFormat.eptWithoutAccessDirty()));
    vm.addShared(GFN, 1);
    write(GPA);
    vm.mmu.notifier().clearYoung(GPA, GPA + 1);
    vm.events.clear();

    assertThat(read(GPA)).isEqualTo(DONE);
    assertThat(vm.takeEvents().get(0)).isEqualTo(pageFault(GPA, "0x100000004"));
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8610000040000b75L);

    assertThat(write(GPA)).isEqualTo(DONE);
    assertThat(vm.takeEvents().get(0)).isEqualTo(pageFault(GPA, "0x100000007"));
    assertThat(stat(VcpuStat.PF_FAST)).isEqualTo(2);
  }

  @Test
  void npt_executesWhatIsNotMarkedNx() {
    use(TestVm.nx(KernelGeneration.LINUX_7_1, SpteFormat.npt()));
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    assertThat(read(GPA)).isEqualTo(DONE);
    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
    vm.events.clear();

    assertThat(exec(GPA + 0x3000)).isEqualTo(DONE);

    assertThat(vm.takeEvents().get(0)).isEqualTo(pageFault(GPA + 0x3000, "0x100000015"));
    assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isEqualTo(1);
  }

  @Test
  void noMemory_isMmio_andTheSecondAccessMeetsTheSpte() {
    assertThat(read(GPA + 4)).isEqualTo(MMIO);
    assertThat(write(GPA)).isEqualTo(MMIO);

    List<String> events = vm.takeEvents();
    assertThat(Events.only(events, "vcpu_match_mmio"))
        .containsExactly(
            "vcpu_match_mmio: gva 0x40000004 gpa 0x40000004 Read GPA",
            "vcpu_match_mmio: gva 0x40000000 gpa 0x40000000 Write GPA");
    assertThat(Events.only(events, "check_mmio_spte")).isEmpty();
    assertThat(stat(VcpuStat.MMIO_EXITS)).isEqualTo(2);
    assertThat(stat(VcpuStat.INSN_EMULATION)).isEqualTo(2);
    assertThat(stat(VcpuStat.PF_EMULATE)).isEqualTo(1);
  }

  @Test
  void readOnlyMemory_isReadDirectly_andAWriteIsMmioWithoutAnEvent() {
    vm.add(MemoryRegion.shared(0, GFN, 1, GPA).withFlags(MemoryRegion.READONLY));

    assertThat(read(GPA)).isEqualTo(DONE);
    vm.events.clear();
    assertThat(write(GPA)).isEqualTo(MMIO);

    assertThat(vm.takeEvents().get(0)).isEqualTo(pageFault(GPA, "0x100000007"));
    assertThat(stat(VcpuStat.MMIO_EXITS)).isEqualTo(1);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  @Test
  void instructionFetchWithoutMemory_fails() {
    assertThat(exec(GPA)).isEqualTo(failed(Errno.EFAULT));
    assertThat(stat(VcpuStat.MMIO_EXITS)).isZero();
  }

  @Test
  void errors_endTheAccess() {
    vm.addShared(TestMemory.FRAMES, 1);
    assertThat(read(TestMemory.FRAMES << 12)).isEqualTo(failed(Errno.EFAULT));

    use(TestVm.swProtected());
    vm.addShared(GFN, 1);
    assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 1), true)).isEqualTo(Errno.OK);
    assertThat(read(GPA))
        .isEqualTo(
            new GuestCpu.Access(
                GuestCpu.Result.ERROR,
                Errno.EFAULT,
                new FaultOutcome.MemoryFault(GPA, 4096, true)));

    assertThat(vm.bugOn(true, "for this test")).isTrue();
    vm.assertBugged("for this test");
    assertThat(read(GPA)).isEqualTo(failed(Errno.EIO));
  }

  @Test
  void noMemoryForANewRoot_isEnomem() {
    vm.setParameter("nx_huge_pages", "force");
    while (vm.vcpu.cachedTablePages() > 0) {
      vm.mmu.freeUnlinked(vm.vcpu.allocPage());
    }
    vm.pages().faults().failAlways(PageOwner.MMU_PAGE_TABLE.tag());

    assertThat(read(GPA)).isEqualTo(failed(Errno.ENOMEM));

    vm.pages().faults().clear();
    assertThat(read(GPA)).isEqualTo(MMIO);
  }

  @Test
  void invalidationInProgress_makesTheGuestFaultUntilItHasEnded() {
    vm.addShared(GFN, 1);
    List<String> lookups = new ArrayList<>();
    vm.memory.setOnFaultIn(
        () -> {
          lookups.add("lookup");
          if (lookups.size() < 3) {
            vm.mmu.notifier().invalidateRange(GPA, GPA + 0x1000);
          }
        });

    assertThat(write(GPA)).isEqualTo(DONE);

    assertThat(lookups).hasSize(3);
    assertThat(stat(VcpuStat.EXITS)).isEqualTo(3);
    assertThat(stat(VcpuStat.PF_TAKEN)).isEqualTo(3);
    assertThat(stat(VcpuStat.PF_FIXED)).isEqualTo(1);
    assertThat(vm.mmu.counters().get(MmuCounter.FAULT_RETRIES)).isEqualTo(2);
  }

  @Test
  void tlbFlushes_areServedBeforeTheGuestRuns() {
    vm.addShared(GFN, 1);
    assertThat(write(GPA)).isEqualTo(DONE);
    assertThat(stat(VcpuStat.TLB_FLUSH)).isEqualTo(1);

    vm.flushRemoteTlbs();
    vm.flushRemoteTlbs();
    assertThat(write(GPA)).isEqualTo(DONE);
    assertThat(stat(VcpuStat.TLB_FLUSH)).isEqualTo(2);

    vm.flushRemoteTlbs();
    cpu.portExit();
    assertThat(stat(VcpuStat.TLB_FLUSH)).isEqualTo(3);
    assertThat(List.of(stat(VcpuStat.EXITS), stat(VcpuStat.IO_EXITS))).containsExactly(2L, 1L);
  }

  @Test
  void fullRing_stopsTheVcpuUntilUserSpaceHasResetIt() {
    vm.vcpu.destroy();
    assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.OK);
    VcpuMmu vcpu = vm.newVcpu();
    GuestCpu ringed = new GuestCpu(vcpu);
    vm.add(MemoryRegion.shared(0, GFN, 0x200, GPA).withFlags(MemoryRegion.LOG_DIRTY_PAGES));
    for (long page = 0; page < 191; page++) {
      assertThat(ringed.access(AccessKind.WRITE, GPA + (page << 12), RIP)).isEqualTo(DONE);
    }

    // The fault on this page takes the last entry: the guest does not come to its write.
    assertThat(ringed.access(AccessKind.WRITE, GPA + (191L << 12), RIP))
        .isEqualTo(access(GuestCpu.Result.DIRTY_RING_FULL));

    DirtyRing ring = vcpu.dirtyRing();
    assertThat(ring).isNotNull();
    assertThat(ring.collect()).hasSize(192);
    assertThat(ringed.access(AccessKind.READ, GPA, RIP))
        .isEqualTo(access(GuestCpu.Result.DIRTY_RING_FULL));
    assertThat(vm.mmu.dirtyTracking().resetRings()).isEqualTo(192);
    assertThat(ringed.access(AccessKind.WRITE, GPA + (200L << 12), RIP)).isEqualTo(DONE);
    assertThat(ring.used()).isEqualTo(1);
  }

  @Test
  void smm_walksItsOwnRoot() {
    vm.add(MemoryRegion.shared(0x10000, GFN, 1, GPA));
    assertThat(read(GPA)).isEqualTo(MMIO);

    vm.vcpu.enterSmm();
    assertThat(read(GPA)).isEqualTo(DONE);
    vm.vcpu.leaveSmm();

    assertThat(read(GPA)).isEqualTo(MMIO);
  }
}
