package dev.septum.mmu;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyBoolean;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.doReturn;
import static org.mockito.Mockito.verify;

import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VcpuStat;
import dev.septum.kvm.VmStat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** How large a fault maps, and why not larger. */
class MappingLevelsTest {

  private static final long GFN = 0x40000;
  private static final long GIGABYTE = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  @Test
  void shared_isAsLargeAsTheHostMapsIt() {
    vm.addShared(GFN, 2 * GIGABYTE);
    vm.memory.setLevel(PageLevel.LEVEL_1G);

    vm.map(GFN + 0x12345, TestVm.READ);

    assertThat(vm.view.directLeafs())
        .containsExactly(new MappedLeaf(GFN, PageLevel.LEVEL_1G, GFN, 0x8600000040000bf7L));
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 1L);
    vm.memory.setLevel(HUGE);
    vm.map(GFN + GIGABYTE + 0x345, TestVm.READ);
    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 1L);
  }

  @Test
  void slotThatDoesNotFill1G_maps2MInside() {
    vm.addShared(GFN + 0x200, GIGABYTE - 0x200);
    vm.memory.setLevel(PageLevel.LEVEL_1G);

    assertLevel(GFN + 0x300, TestVm.READ, HUGE);
  }

  @Test
  void headAndTailOfAMisalignedSlot_are4K() {
    vm.addShared(GFN + 3, 0x400);
    vm.memory.setLevel(HUGE);

    assertLevel(GFN + 3, TestVm.READ, SMALL);
    assertLevel(GFN + 0x200, TestVm.READ, HUGE);
    assertLevel(GFN + 0x402, TestVm.READ, SMALL);
  }

  @Test
  void addressMisalignedAgainstTheGfn_is4KEverywhere() {
    assertThat(
            vm.mmu.memory().setRegion(MemoryRegion.shared(0, GFN, 0x600, (GFN + 0x1000 + 1) << 12)))
        .isEqualTo(Errno.OK);
    vm.memory.setLevel(HUGE);

    assertLevel(GFN + 0x200, TestVm.READ, SMALL);
  }

  @Test
  void slotThatLogs_is4KUntilItLogsNoMore() {
    vm.add(MemoryRegion.shared(0, GFN, 0x400, GFN << 12).withFlags(MemoryRegion.LOG_DIRTY_PAGES));
    vm.memory.setLevel(HUGE);
    assertLevel(GFN, TestVm.READ, SMALL);

    vm.setFlags(0);

    assertLevel(GFN + 0x200, TestVm.READ, HUGE);
  }

  @Test
  void private_followsTheFolio() {
    use(TestVm.td());
    vm.addPrivate(GFN, 0x200, HUGE);
    vm.addPrivate(GFN + 0x200, 0x200, SMALL);

    assertLevel(GFN + 3, TestVm.PRIVATE_WRITE, HUGE);
    assertLevel(GFN + 0x203, TestVm.PRIVATE_WRITE, SMALL);
  }

  @Test
  void private_backendLimitsTheLevel() {
    use(TestVm.td());
    GuestMemfd gmem = vm.addPrivate(GFN, 0x200, HUGE);
    doReturn(SMALL).when(vm.ops).gmemMaxMappingLevel(any(), anyLong(), anyBoolean());

    assertLevel(GFN + 3, TestVm.PRIVATE_WRITE, SMALL);

    verify(vm.ops).gmemMaxMappingLevel(vm, gmem.pfnAt(3), true);
  }

  @Test
  void private_misalignedFileOffset_is4K() {
    use(TestVm.td());
    GuestMemfd gmem = vm.newGmem(0x600, HUGE);
    vm.addPrivate(GFN, 0x400, gmem, 1);

    assertLevel(GFN + 0x200, TestVm.PRIVATE_WRITE, SMALL);
  }

  @Test
  void private_afterAConversionOfAPart_is4KWhileMixed() {
    use(TestVm.swProtected());
    vm.addPrivate(GFN, 0x200, HUGE);
    setPrivate(GFN, false);

    assertLevel(GFN + 3, TestVm.PRIVATE_WRITE, SMALL);

    setPrivate(GFN, true);
    assertLevel(GFN + 4, TestVm.PRIVATE_WRITE, HUGE);
    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
  }

  @Test
  void private_guestAcceptedAPart_is4KForEver() {
    use(TestVm.td());
    vm.addPrivate(GFN, 0x400, HUGE);
    requireNonNull(vm.mmu.memslots().find(GFN)).setGuestInhibit(GFN + 7, HUGE);

    assertLevel(GFN + 3, TestVm.PRIVATE_WRITE, SMALL);
    assertLevel(GFN + 0x203, TestVm.PRIVATE_WRITE, HUGE);
  }

  @Test
  void mirrorTable_isNeverMergedAgain() {
    use(TestVm.td());
    vm.addPrivate(GFN, 0x200, HUGE);
    setPrivate(GFN, false);
    assertLevel(GFN + 3, TestVm.PRIVATE_WRITE, SMALL);
    setPrivate(GFN, true);

    assertLevel(GFN + 4, TestVm.PRIVATE_WRITE, SMALL);

    assertThat(vm.leafCounts()).containsExactly(2L, 0L, 0L);
  }

  @Test
  void execution_underTheNxMitigation_maps4K_andKeepsTheTable() {
    use(TestVm.nx());
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);

    assertLevel(GFN + 3, TestVm.EXEC, SMALL);
    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isEqualTo(1);
    assertLevel(GFN + 4, TestVm.READ, SMALL);

    assertThat(vm.leafCounts()).containsExactly(2L, 0L, 0L);
    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isEqualTo(1);
  }

  @Test
  void execution_underTheNxMitigation_splitsTheHugeLeafAndIsSpurious() {
    use(TestVm.nx());
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);
    vm.map(GFN, TestVm.READ);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000bf3L);

    assertThat(vm.fault(GFN + 3, TestVm.EXEC)).isEqualTo(FaultOutcome.of(RetPf.SPURIOUS));

    assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
    assertThat(vm.peek(vm.directRoot(), GFN + 3)).isEqualTo(0x8600000040003b77L);
    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isEqualTo(1);
    assertThat(vm.mmu.splits().get(SplitCause.FAULT)).isEqualTo(1);
    assertThat(vm.vcpu.vcpu().stats().get(VcpuStat.PF_SPURIOUS)).isEqualTo(1);
  }

  @Test
  void execution_underTheNxMitigation_splits1GInTwoTables() {
    use(TestVm.nx());
    vm.addShared(GFN, GIGABYTE);
    vm.memory.setLevel(PageLevel.LEVEL_1G);
    vm.map(GFN, TestVm.READ);

    assertThat(vm.fault(GFN + 3, TestVm.EXEC)).isEqualTo(FaultOutcome.of(RetPf.SPURIOUS));

    assertThat(vm.leafCounts()).containsExactly(512L, 511L, 0L);
    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isEqualTo(2);
    assertThat(vm.peek(vm.directRoot(), GFN + 0x200)).isEqualTo(0x8600000040200bf3L);
  }

  @Test
  void nxTable_goesFromTheStatisticsWithItsRoot() {
    use(TestVm.nx());
    Memslot slot = vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);
    vm.map(GFN, TestVm.EXEC);
    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isEqualTo(1);

    assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(slot.id()))).isEqualTo(Errno.OK);

    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isZero();
  }

  @Test
  void gfnAndPfnThatDifferBelowTheLevel_areFatal() {
    Memslot slot = vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);
    PageFault fault = new PageFault(vm.mmu, GFN << 12, TestVm.READ, false);
    fault.setSlot(slot);
    fault.resolve(GFN + 1, true, PageLevel.LEVEL_1G);

    assertThatIllegalStateException()
        .isThrownBy(() -> new MappingLevels(vm.mmu).adjust(fault))
        .withMessageContaining("gfn 0x40000 and pfn 0x40001 differ below level LEVEL_2M");
  }

  private void setPrivate(long gfn, boolean isPrivate) {
    assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(gfn, 1), isPrivate))
        .isEqualTo(Errno.OK);
  }

  private void assertLevel(long gfn, long errorCode, PageLevel expected) {
    vm.map(gfn, errorCode);
    boolean inMirror = vm.type().hasMirroredTdp() && errorCode == TestVm.PRIVATE_WRITE;
    MmuPage root = inMirror ? vm.mirrorRoot() : vm.directRoot();
    assertThat(vm.mmu.format().isPresentLeaf(vm.spte(root, gfn, expected), expected)).isTrue();
  }
}
