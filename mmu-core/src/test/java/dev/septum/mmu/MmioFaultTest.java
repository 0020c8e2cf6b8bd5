package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import dev.septum.kvm.VmType;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Accesses where there is no memory: MMIO SPTEs, their generation, and the vCPU's cache. */
class MmioFaultTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final FaultOutcome EMULATE = FaultOutcome.of(RetPf.EMULATE);
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
  private static final FaultOutcome RETRY = FaultOutcome.of(RetPf.RETRY);
  private static final long RESERVED = TestVm.READ | PageFault.RSVD;

  private TestVm vm = TestVm.npt();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  private List<Long> stats(VcpuStat... stats) {
    return List.of(stats).stream().map(vm.vcpu.vcpu().stats()::get).toList();
  }

  /** Publishes as many generations as it takes for the next one to be {@code generation}. */
  private void advanceTo(int asId, long generation) {
    Memslots slots = vm.mmu.memslots();
    while (slots.generation(asId) + vm.mmu.addressSpaces() < generation) {
      slots.update(asId, UnaryOperator.identity());
    }
  }

  @Test
  void firstFault_installsTheSpteAndEmulates() {
    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(EMULATE);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8000040000007L);
    assertThat(vm.view.dump())
        .contains("nonpresent L1 gfn=0x40000 spte=0x0008000040000007\n")
        .endsWith("total tables(incl root)=4 leaf4k=0 leaf2m=0 leaf1g=0\n");
    assertThat(vm.vcpu.mmioCache().matches(GFN << 12)).isTrue();
    assertThat(stats(VcpuStat.PF_TAKEN, VcpuStat.PF_EMULATE, VcpuStat.PF_MMIO_SPTE_CREATED))
        .containsExactly(1L, 1L, 1L);
  }

  @Test
  void reservedFault_onTheCachedGfn_isEmulatedWithoutAWalk() {
    vm.fault(GFN, TestVm.READ);
    vm.events.clear();

    assertThat(vm.fault(GFN, RESERVED)).isEqualTo(EMULATE);

    assertThat(vm.takeEvents()).isEmpty();
    assertThat(stats(VcpuStat.PF_TAKEN, VcpuStat.PF_EMULATE)).containsExactly(1L, 1L);
  }

  @Test
  void reservedFault_onAnotherGfn_checksTheSpteAndRemembersIt() {
    vm.fault(GFN, TestVm.READ);
    vm.fault(GFN + 1, TestVm.READ);
    vm.events.clear();

    assertThat(vm.fault(GFN, RESERVED)).isEqualTo(EMULATE);

    assertThat(vm.takeEvents())
        .containsExactly(
            "check_mmio_spte: spte 8000040000007 kvm_gen 0 spte-gen 0 valid 1",
            "handle_mmio_page_fault: addr:0 gfn 40000 access 6");
    assertThat(vm.vcpu.mmioCache().matches(GFN << 12)).isTrue();
    assertThat(vm.vcpu.mmioCache().matches((GFN + 1) << 12)).isFalse();
    assertThat(stats(VcpuStat.PF_TAKEN)).containsExactly(2L);
  }

  @Test
  void ept_keepsNoAccessRights() {
    use(TestVm.ordinary());
    vm.fault(GFN, TestVm.WRITE);
    vm.fault(GFN + 1, TestVm.WRITE);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x40000006L);
    vm.events.clear();

    assertThat(vm.fault(GFN, RESERVED)).isEqualTo(EMULATE);

    assertThat(vm.takeEvents())
        .containsExactly(
            "check_mmio_spte: spte 40000006 kvm_gen 0 spte-gen 0 valid 1",
            "handle_mmio_page_fault: addr:0 gfn 40000 access 0");
  }

  @Test
  void td_marksItForAVirtualisationException() {
    use(TestVm.td());
    vm.add(MemoryRegion.shared(0, 1, 1, 1 << 12));

    assertThat(vm.fault(GFN | TestVm.SHARED_BIT, TestVm.READ)).isEqualTo(EMULATE);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x40000008L);
  }

  /** Any change of the slots puts the SPTE out of date; the slow path then finds what is there. */
  @Test
  void slotWhereTheSpteIs_replacesIt() {
    vm.fault(GFN, TestVm.READ);
    vm.addShared(GFN, 1);
    vm.events.clear();

    assertThat(vm.fault(GFN, RESERVED)).isEqualTo(FIXED);

    List<String> events = vm.takeEvents();
    assertThat(events.subList(0, 3))
        .containsExactly(
            "check_mmio_spte: spte 8000040000007 kvm_gen 2 spte-gen 0 valid 0",
            Events.requested(GFN, SMALL),
            Events.changed(GFN, 1, 0x8000040000007L, 0x40000e67L));
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  /** 6.12 asks the MMIO SPTE for its write bit as if it were a leaf, and leaves D out. */
  @Test
  void slotWhereTheSpteIs_on6_12LeavesTheDirtyBitToHardware() {
    use(TestVm.of(KernelGeneration.LINUX_6_12, SpteFormat.npt()));
    vm.fault(GFN, TestVm.READ);
    vm.addShared(GFN, 1);

    assertThat(vm.fault(GFN, RESERVED)).isEqualTo(FIXED);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x40000e27L);
  }

  @Test
  void slotElsewhere_putsTheSpteOutOfDateToo_andItIsMadeAnew() {
    vm.fault(GFN, TestVm.READ);
    vm.addShared(0x1000, 1);
    vm.events.clear();

    assertThat(vm.fault(GFN, RESERVED)).isEqualTo(EMULATE);

    long pa = vm.at(vm.directRoot(), GFN, SMALL, LockMode.SHARED, TdpIter::sptePa);
    assertThat(vm.takeEvents())
        .containsExactly(
            "check_mmio_spte: spte 8000040000007 kvm_gen 2 spte-gen 0 valid 0",
            "kvm_mmu_spte_requested: gfn 40000 pfn 8000000000000000 level 1",
            Events.changed(GFN, 1, 0x8000040000007L, 0x8000040000017L),
            "mark_mmio_spte: sptep:%016x gfn 40000 access 7 gen 2".formatted(pa),
            "tdp_map_ret: ret_pf=2");
    assertThat(stats(VcpuStat.PF_TAKEN, VcpuStat.PF_EMULATE)).containsExactly(2L, 2L);
  }

  @Test
  void hugePage_replacesTheTableOfMmioSptes() {
    vm.fault(GFN, TestVm.READ);
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.events.clear();

    assertThat(vm.fault(GFN + 5, TestVm.WRITE)).isEqualTo(FIXED);

    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
    assertThat(Events.only(vm.takeEvents(), "kvm_tdp_mmu_spte_changed: as id 0 gfn 40000 level 1"))
        .containsExactly(Events.changed(GFN, 1, 0x8000040000007L, SpteFormat.FROZEN));
  }

  @Test
  void entryReplacedSinceTheProcessorReadIt_retries() {
    vm.addShared(GFN, 1);
    vm.map(GFN, TestVm.READ);

    assertThat(vm.fault(GFN, RESERVED)).isEqualTo(RETRY);
    assertThat(vm.fault(GFN + 1, RESERVED)).isEqualTo(RETRY);

    assertThat(stats(VcpuStat.PF_TAKEN)).containsExactly(1L);
  }

  @Test
  void gfnZero_isNeverCached() {
    vm.fault(0, TestVm.READ);
    assertThat(vm.vcpu.mmioCache().matches(0)).isFalse();

    assertThat(vm.fault(0, RESERVED)).isEqualTo(EMULATE);
    assertThat(Events.only(vm.takeEvents(), "check_mmio_spte")).hasSize(1);
  }

  @Test
  void cache_isForOneGeneration() {
    vm.fault(GFN, TestVm.READ);

    vm.addShared(0x1000, 1);

    assertThat(vm.vcpu.mmioCache().matches(GFN << 12)).isFalse();
  }

  @Test
  void gfnThatHardwareCannotReach_isEmulatedWithoutAnSpte() {
    long tables = vm.view.tables();

    assertThat(vm.fault(1L << 40, TestVm.READ)).isEqualTo(EMULATE);

    assertThat(vm.view.tables()).isEqualTo(tables);
    assertThat(stats(VcpuStat.PF_MMIO_SPTE_CREATED)).containsExactly(0L);
  }

  /** The generation that an SPTE keeps comes round after 19 bits: then every SPTE must go. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void generationComesRound_zapsEverything(int asId) {
    advanceTo(asId, (1L << 19) - 2);
    vm.fault(GFN, TestVm.READ);
    int slot = asId << 16 | 7;
    vm.events.clear();

    assertThat(vm.mmu.memory().setRegion(MemoryRegion.shared(slot, 1, 1, 1 << 12)))
        .isEqualTo(Errno.OK);
    assertThat(Events.only(vm.takeEvents(), "kvm_mmu_zap_all_fast")).isEmpty();
    assertThat(vm.view.tables()).isEqualTo(4);

    assertThat(vm.mmu.memory().setRegion(MemoryRegion.shared(slot + 1, 9, 1, 9 << 12)))
        .isEqualTo(Errno.OK);

    assertThat(vm.mmu.memslots().generation(asId)).isEqualTo((1L << 19) + asId);
    assertThat(vm.takeEvents())
        .first()
        .isEqualTo("kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0");
    assertThat(vm.vcpu.directRoot().role().isInvalid()).isTrue();
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    assertThat(vm.view.tables()).isEqualTo(1);
  }

  @Test
  void generationComesRound_alsoWhereThereIsOneAddressSpace() {
    use(TestVm.of(VmType.SW_PROTECTED, SpteFormat.npt()));
    advanceTo(0, (1L << 19) - 1);
    vm.addShared(1, 1);
    vm.events.clear();

    vm.addShared(2, 1);

    assertThat(vm.mmu.memslots().generation(0)).isEqualTo(1L << 19);
    assertThat(Events.only(vm.takeEvents(), "kvm_mmu_zap_all_fast")).hasSize(1);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  @ParameterizedTest
  @CsvSource({"0x7fffe, 0x7ff80000400007f7", "0x100, 0x18000040000007"})
  void spte_keepsAllBitsOfTheGeneration(String generation, String spte) {
    advanceTo(0, Long.decode(generation));
    vm.addShared(1, 1);

    vm.fault(GFN, TestVm.READ);

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(Long.decode(spte));
    assertThat(LongStream.of(vm.mmu.format().mmioGeneration(Long.decode(spte))))
        .containsExactly(Long.decode(generation));
  }
}
