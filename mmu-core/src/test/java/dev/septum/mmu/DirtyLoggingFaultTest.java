package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Faults on pages of a slot that logs: which are split, fixed, and marked dirty. */
class DirtyLoggingFaultTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final PageLevel GIGABYTE = PageLevel.LEVEL_1G;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final long WRITE_PRESENT = TestVm.WRITE | PageFault.PRESENT;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);

  /** EPT leafs of {@link #GFN}; further pages are added to them. */
  private static final long HUGE_LEAF = 0x8600000040000bf7L;

  private static final long LEAF = 0x8600000040000b77L;
  private static final long PROTECTED = 0x8600000040000b75L;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  /** Slot 0 from {@link #GFN} on, all of it mapped in 2M pages. */
  private void mapHuge(int count) {
    vm.addShared(GFN, count * 0x200L);
    vm.memory.setLevel(HUGE);
    for (int i = 0; i < count; i++) {
      vm.map(GFN + i * 0x200L, TestVm.WRITE);
    }
    vm.events.clear();
  }

  private long table(long gfn) {
    return vm.spte(vm.directRoot(), gfn, HUGE);
  }

  /** Golden sequence 6 of the fault path: only the written page becomes writable and dirty. */
  @Test
  void writeToAProtectedHugeLeaf_splitsItAndDirtiesOnePage() {
    vm.setParameter("eager_page_split", "N");
    mapHuge(1);
    vm.setFlags(LOG);
    vm.events.clear();
    long sptep = vm.at(vm.directRoot(), GFN, HUGE, LockMode.SHARED, TdpIter::sptePa);

    assertThat(vm.fault(GFN + 7, WRITE_PRESENT)).isEqualTo(FIXED);

    long leafPa = vm.at(vm.directRoot(), GFN + 7, SMALL, LockMode.SHARED, TdpIter::sptePa);
    assertThat(vm.takeEvents())
        .containsExactly(
            ("fast_page_fault: vcpu 0 gva 40007000 error_code P|W|U sptep %016x"
                    + " old 0x8600000040000bf5 new 8600000040000bf5 spurious 0 fixed 0")
                .formatted(sptep),
            Events.requested(GFN + 7, SMALL),
            Events.newPage(GFN, 1),
            Events.changed(GFN, 2, HUGE_LEAF - 2, table(GFN)),
            Events.split(GFN, HUGE_LEAF - 2, 2, 0),
            Events.changed(GFN + 7, 1, PROTECTED + 0x7000, LEAF + 0x7000),
            "kvm_mmu_set_spte: gfn 40007 spte 8600000040007b77 (rwxu) level 1 at %x"
                .formatted(leafPa),
            "tdp_map_ret: ret_pf=5");
    assertThat(vm.dirty()).containsExactly(7L);
    assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
    assertThat(vm.flushes()).isEqualTo(1);
    assertThat(vm.vcpu.vcpu().stats().get(VcpuStat.PF_FAST)).isZero();
  }

  @Test
  void writeToAProtectedGigabyte_splitsAlongThePathOnly() {
    vm.setParameter("eager_page_split", "N");
    vm.addShared(GFN, GIGABYTE.pages());
    vm.memory.setLevel(GIGABYTE);
    vm.map(GFN, TestVm.WRITE);
    vm.setFlags(LOG);

    assertThat(vm.fault(GFN + 0x203, WRITE_PRESENT)).isEqualTo(FIXED);

    assertThat(vm.leafCounts()).containsExactly(512L, 511L, 0L);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(HUGE_LEAF - 2);
    assertThat(vm.peek(vm.directRoot(), GFN + 0x203)).isEqualTo(LEAF + (0x203L << 12));
    assertThat(vm.peek(vm.directRoot(), GFN + 0x204)).isEqualTo(PROTECTED + (0x204L << 12));
    assertThat(vm.dirty()).containsExactly(0x203L);
  }

  /** A read that faults all the same is split for; only 6.12 then writes the page anew. */
  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void readFaultOnAProtectedHugeLeaf_splitsIt(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.setParameter("eager_page_split", "N");
    mapHuge(1);
    vm.setFlags(LOG);

    FaultOutcome outcome = vm.fault(GFN + 7, TestVm.READ);

    boolean spurious = generation == KernelGeneration.LINUX_7_1;
    assertThat(outcome).isEqualTo(FaultOutcome.of(spurious ? RetPf.SPURIOUS : RetPf.FIXED));
    assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
    assertThat(vm.dirty()).isEqualTo(spurious ? List.of() : List.of(7L));
    assertThat(vm.peek(vm.directRoot(), GFN + 7)).isEqualTo((spurious ? PROTECTED : LEAF) + 0x7000);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void writeToAProtectedPage_isFixedWithoutALock_andDirty(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    mapHuge(1);
    vm.setFlags(LOG);
    vm.events.clear();
    long sptep = vm.at(vm.directRoot(), GFN + 3, SMALL, LockMode.SHARED, TdpIter::sptePa);

    assertThat(vm.fault(GFN + 3, WRITE_PRESENT)).isEqualTo(FIXED);

    assertThat(vm.takeEvents())
        .containsExactly(
            ("fast_page_fault: vcpu 0 gva 40003000 error_code P|W|U sptep %016x"
                    + " old 0x8600000040003b75 new 8600000040003b77 spurious 0 fixed 1")
                .formatted(sptep));
    assertThat(vm.dirty()).containsExactly(3L);
    assertThat(vm.vcpu.vcpu().stats().get(VcpuStat.PF_FAST)).isEqualTo(1);
  }

  @Test
  void fastPath_losesTheRaceToAnotherVcpu_isSpuriousAndLeavesTheBitToTheWinner() {
    mapHuge(1);
    vm.setFlags(LOG);
    vm.hooks.onExchange(() -> vm.poke(GFN + 3, SMALL, LEAF + 0x3000));

    assertThat(vm.fault(GFN + 3, WRITE_PRESENT)).isEqualTo(FaultOutcome.of(RetPf.SPURIOUS));

    assertThat(vm.dirty()).isEmpty();
  }

  /** A page is dirty when it becomes writable, which a read makes it as well. */
  @Test
  void faultsInASlotThatLogs_map4KWritableAndDirty() {
    vm.add(MemoryRegion.shared(0, GFN, 0x200, GFN << 12).withFlags(LOG));
    vm.memory.setLevel(HUGE);

    vm.map(GFN + 4, TestVm.READ);
    vm.map(GFN + 70, TestVm.WRITE);
    vm.memory.setWritable(false);
    vm.map(GFN + 5, TestVm.READ);

    assertThat(vm.view.directLeafs())
        .containsExactly(
            new MappedLeaf(GFN + 4, SMALL, GFN + 4, LEAF + 0x4000),
            new MappedLeaf(GFN + 5, SMALL, GFN + 5, 0x8000000040005975L),
            new MappedLeaf(GFN + 70, SMALL, GFN + 70, LEAF + (70L << 12)));
    assertThat(vm.dirty()).containsExactly(4L, 70L);
  }

  /** On 7.1 the second access is spurious; 6.12 writes the leaf anew, without D, and marks it. */
  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void accessToAWritablePage(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.add(MemoryRegion.shared(0, GFN, 1, GFN << 12).withFlags(LOG));
    vm.map(GFN, TestVm.WRITE);
    vm.bitmap().take(0);
    vm.events.clear();

    FaultOutcome outcome = vm.fault(GFN, TestVm.READ);

    boolean spurious = generation == KernelGeneration.LINUX_7_1;
    assertThat(outcome).isEqualTo(FaultOutcome.of(spurious ? RetPf.SPURIOUS : RetPf.FIXED));
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(spurious ? LEAF : LEAF - 0x200);
    assertThat(vm.dirty()).isEqualTo(spurious ? List.of() : List.of(0L));
    assertThat(Events.only(vm.takeEvents(), "kvm_tdp_mmu_spte_changed"))
        .isEqualTo(spurious ? List.of() : List.of(Events.changed(GFN, 1, LEAF, LEAF - 0x200)));
  }

  @Test
  void withoutAdBits_aTrackedPageIsNotProtected_andAReadDoesNotDirtyIt() {
    use(TestVm.of(KernelGeneration.LINUX_7_1, SpteFormat.eptWithoutAccessDirty()));
    vm.addShared(GFN, 2);
    vm.map(GFN, TestVm.WRITE);
    vm.map(GFN + 1, TestVm.WRITE);
    assertThat(vm.mmu.notifier().clearYoung(GFN << 12, (GFN + 1) << 12)).isTrue();
    vm.events.clear();

    vm.setFlags(LOG);

    assertThat(vm.takeEvents())
        .containsExactly(
            Events.changed(GFN + 1, 1, 0x8610000040001b77L, 0x8610000040001b75L), Events.FLUSH);
    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FIXED);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8610000040000b75L);
    assertThat(vm.dirty()).isEmpty();
    assertThat(vm.fault(GFN, WRITE_PRESENT)).isEqualTo(FIXED);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8610000040000b77L);
    assertThat(vm.dirty()).containsExactly(0L);
  }
}
