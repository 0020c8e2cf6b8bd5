package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import dev.septum.kvm.VmType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Permissions given back without a lock. */
class FastPageFaultTest {

  private static final long GFN = 0x40000;
  private static final long WRITE_PRESENT = TestVm.WRITE | PageFault.PRESENT;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  @Test
  void writeProtectedLeaf_getsWBackAndNothingElseHappens() {
    long leaf = mapOne();
    vm.corrupt(vm.directRoot(), GFN, SMALL, vm.mmu.format().writeProtect(leaf));
    vm.events.clear();

    assertThat(vm.fault(GFN, WRITE_PRESENT)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(leaf);
    assertThat(vm.events).singleElement().asString().startsWith("fast_page_fault: ");
    assertFast(1);
  }

  @Test
  void writeProtectedHugeLeaf_isFixedWhole() {
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(GFN, TestVm.WRITE);
    long leaf = vm.peek(vm.directRoot(), GFN);
    vm.corrupt(vm.directRoot(), GFN, PageLevel.LEVEL_2M, vm.mmu.format().writeProtect(leaf));

    assertThat(vm.fault(GFN + 7, WRITE_PRESENT)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(leaf);
    assertFast(1);
  }

  @Test
  void writeTrackedLeaf_goesTheSlowWay() {
    long leaf = mapOne();
    vm.corrupt(vm.directRoot(), GFN, SMALL, vm.mmu.format().writeTrack(leaf));
    vm.events.clear();

    assertThat(vm.fault(GFN, WRITE_PRESENT)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(leaf);
    assertThat(vm.events).anyMatch(e -> e.startsWith("kvm_tdp_mmu_spte_changed: "));
    assertFast(0);
  }

  @Test
  void writableLeaf_isSpurious() {
    mapOne();

    assertThat(vm.fault(GFN, WRITE_PRESENT)).isEqualTo(FaultOutcome.of(RetPf.SPURIOUS));

    assertFast(1);
  }

  @Test
  void nothingMapped_leavesItToTheSlowPath() {
    vm.addShared(GFN, 1);

    assertThat(vm.fault(GFN, WRITE_PRESENT)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertFast(0);
  }

  @Test
  void readOfAPresentPage_isNotForTheFastPath() {
    mapOne();
    vm.events.clear();

    assertThat(vm.fault(GFN, TestVm.READ | PageFault.PRESENT))
        .isEqualTo(FaultOutcome.of(RetPf.SPURIOUS));

    assertThat(vm.events).noneMatch(e -> e.startsWith("fast_page_fault"));
    assertFast(0);
  }

  @Test
  void accessTrackedLeaf_withoutAdBits_getsReadAndExecuteBackOnARead() {
    use(TestVm.of(VmType.DEFAULT, SpteFormat.eptWithoutAccessDirty()));
    long leaf = mapOne();
    vm.corrupt(vm.directRoot(), GFN, SMALL, vm.mmu.format().markForAccessTrack(leaf));

    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8610000040000b75L);
    assertFast(1);
  }

  @Test
  void accessTrackedLeaf_withoutAdBits_getsEverythingBackOnAWrite() {
    use(TestVm.of(VmType.DEFAULT, SpteFormat.eptWithoutAccessDirty()));
    long leaf = mapOne();
    vm.corrupt(vm.directRoot(), GFN, SMALL, vm.mmu.format().markForAccessTrack(leaf));

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FaultOutcome.of(RetPf.FIXED));

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(leaf);
    assertFast(1);
  }

  @Test
  void privateAccessToASharedGfn_neverUsesTheFastPath() {
    use(TestVm.swProtected());
    mapOne();

    assertThat(vm.fault(GFN, WRITE_PRESENT | PageFault.PRIVATE).memoryFault())
        .isEqualTo(new FaultOutcome.MemoryFault(GFN << 12, 4096, true));

    assertFast(0);
  }

  @Test
  void privateGfnOfATd_isNeverLookedUpInTheMirror() {
    use(TestVm.td());
    vm.addPrivate(GFN, 1, SMALL);
    vm.map(GFN, TestVm.PRIVATE_WRITE);

    assertThat(vm.fault(GFN, TestVm.PRIVATE_WRITE | PageFault.PRESENT))
        .isEqualTo(FaultOutcome.of(RetPf.SPURIOUS));

    assertFast(0);
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  private long mapOne() {
    vm.addShared(GFN, 1);
    vm.map(GFN, TestVm.WRITE);
    return vm.peek(vm.directRoot(), GFN);
  }

  private void assertFast(long count) {
    assertThat(vm.vcpu.vcpu().stats().get(VcpuStat.PF_FAST)).isEqualTo(count);
  }
}
