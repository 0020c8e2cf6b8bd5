package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** SMM has slots and roots of its own. */
class AddressSpacesTest {

  private static final long GFN = 0x40000;
  private static final long LEAF = 0x8600000040000b77L;
  private static final int SMM_SLOT = 0x10000;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  private void enterSmm() {
    vm.vcpu.enterSmm();
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  private void leaveSmm() {
    vm.vcpu.leaveSmm();
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
  }

  /** One page at {@link #GFN} in both address spaces, the same in both if {@code hva} is. */
  private void addBoth(long hva) {
    vm.add(MemoryRegion.shared(0, GFN, 1, GFN << 12));
    vm.add(MemoryRegion.shared(SMM_SLOT, GFN, 1, hva));
  }

  @Test
  void smm_hasARootOfItsOwn_andTheOtherStays() {
    MmuPage ordinary = vm.directRoot();
    vm.events.clear();

    enterSmm();

    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_mmu_get_page: sp gen 0 gfn 0 l4 8-byte q0 direct wux nxe ad root 0 sync new");
    MmuPage smm = vm.vcpu.directRoot();
    assertThat(smm).isNotSameAs(ordinary);
    assertThat(smm.role().word()).isEqualTo(0x1003784);
    assertThat(ordinary.role().word()).isEqualTo(0x3784);
    assertThat(List.of(ordinary.rootCount(), smm.rootCount())).containsExactly(1L, 2L);

    leaveSmm();
    assertThat(vm.vcpu.directRoot()).isSameAs(ordinary);
    assertThat(List.of(ordinary.rootCount(), smm.rootCount())).containsExactly(2L, 1L);
  }

  @Test
  void sameAddressSpaceAgain_keepsTheRoot() {
    MmuPage root = vm.vcpu.directRoot();

    vm.vcpu.leaveSmm();

    assertThat(vm.vcpu.directRoot()).isSameAs(root);
    assertThat(root.rootCount()).isEqualTo(2);
  }

  @Test
  void eachSpace_mapsItsOwnSlots_andEventsSayWhich() {
    addBoth(0x1000L << 12);
    vm.map(GFN, TestVm.WRITE);
    enterSmm();
    vm.events.clear();

    vm.map(GFN, TestVm.WRITE);

    assertThat(Events.only(vm.takeEvents(), "kvm_tdp_mmu_spte_changed: as id 1 gfn 40000 level 1"))
        .containsExactly(Events.changedIn(1, GFN, 1, SpteFormat.NONPRESENT, 0x8600000001000b77L));
    assertThat(vm.view.directLeafs())
        .containsExactly(
            new MappedLeaf(GFN, PageLevel.LEVEL_4K, GFN, LEAF),
            new MappedLeaf(GFN, PageLevel.LEVEL_4K, 0x1000, 0x8600000001000b77L));
  }

  @Test
  void slotOfTheOtherSpace_isNoMemory() {
    vm.add(MemoryRegion.shared(0, GFN, 1, GFN << 12));
    enterSmm();

    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FaultOutcome.of(RetPf.EMULATE));

    // The first generation of SMM's slots is 1.
    assertThat(vm.peek(vm.vcpu.directRoot(), GFN)).isEqualTo(0x4000000eL);
  }

  @Test
  void generations_areUniqueOverBothSpaces() {
    Memslots slots = vm.mmu.memslots();
    assertThat(List.of(slots.generation(0), slots.generation(1))).containsExactly(0L, 1L);

    addBoth(GFN << 12);
    vm.add(MemoryRegion.shared(SMM_SLOT | 1, 1, 1, 1 << 12));

    assertThat(List.of(slots.generation(0), slots.generation(1))).containsExactly(2L, 5L);
    assertThat(slots.all()).hasSize(1);
    assertThat(slots.everywhereByHva()).hasSize(3);
    assertThat(slots.find(1)).isNull();
    assertThat(vm.slot(SMM_SLOT | 1).id()).isEqualTo(1);
    assertThat(slots.find(1, 1)).isSameAs(vm.slot(SMM_SLOT | 1));
  }

  @Test
  void overlap_isJudgedWithinOneSpace() {
    addBoth(GFN << 12);

    assertThat(vm.mmu.memory().setRegion(MemoryRegion.shared(SMM_SLOT | 1, GFN, 1, 0)))
        .isEqualTo(Errno.EEXIST);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void logging_ofOneSpace_leavesTheOtherAlone(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    addBoth(GFN << 12);
    vm.map(GFN, TestVm.WRITE);
    enterSmm();
    vm.map(GFN, TestVm.WRITE);
    vm.events.clear();

    vm.add(vm.slot(SMM_SLOT).region().withFlags(MemoryRegion.LOG_DIRTY_PAGES));

    assertThat(vm.takeEvents())
        .containsExactly(Events.changedIn(1, GFN, 1, LEAF, LEAF - 2), Events.FLUSH);
    assertThat(vm.fault(GFN, TestVm.WRITE | PageFault.PRESENT))
        .isEqualTo(FaultOutcome.of(RetPf.FIXED));
    assertThat(vm.mmu.dirtyTracking().getDirtyLog(SMM_SLOT))
        .isEqualTo(new DirtyTracking.DirtyLog(Errno.OK, ImmutableLongArray.of(1)));
    assertThat(vm.mmu.dirtyTracking().getDirtyLog(0).error()).isEqualTo(Errno.ENOENT);
  }

  @Test
  void deletedSlot_zapsBothSpaces_unlessTheQuirkIsOff() {
    vm.mmu.memory().disableQuirkSlotZapAll();
    addBoth(GFN << 12);
    vm.map(GFN, TestVm.WRITE);
    enterSmm();
    vm.map(GFN, TestVm.WRITE);
    vm.events.clear();

    assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(SMM_SLOT))).isEqualTo(Errno.OK);

    assertThat(vm.takeEvents())
        .containsExactly(Events.changedIn(1, GFN, 1, LEAF, SpteFormat.NONPRESENT), Events.FLUSH);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
  }

  @Test
  void deletedSlot_withTheQuirk_replacesTheRootsOfBothSpaces() {
    addBoth(GFN << 12);
    vm.map(GFN, TestVm.WRITE);
    MmuPage ordinary = vm.directRoot();
    enterSmm();
    vm.map(GFN, TestVm.WRITE);

    assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(SMM_SLOT))).isEqualTo(Errno.OK);

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(ordinary.role().isInvalid()).isTrue();
    assertThat(vm.vcpu.directRoot().role().isInvalid()).isTrue();
    leaveSmm();
    assertThat(vm.view.tables()).isEqualTo(1);
  }

  @Test
  void notifier_findsTheAddressInBothSpaces() {
    addBoth(GFN << 12);
    vm.map(GFN, TestVm.WRITE);
    enterSmm();
    vm.map(GFN, TestVm.WRITE);
    vm.events.clear();

    assertThat(vm.mmu.notifier().clearYoung(GFN << 12, (GFN + 1) << 12)).isTrue();
    vm.mmu.notifier().invalidateRange(GFN << 12, (GFN + 1) << 12);

    assertThat(Events.only(vm.takeEvents(), "kvm_tdp_mmu_spte_changed", "flush"))
        .containsExactly(
            Events.changed(GFN, 1, LEAF, LEAF - 0x100),
            Events.changedIn(1, GFN, 1, LEAF, LEAF - 0x100),
            Events.changed(GFN, 1, LEAF - 0x100, SpteFormat.NONPRESENT),
            Events.changedIn(1, GFN, 1, LEAF - 0x100, SpteFormat.NONPRESENT),
            Events.FLUSH);
  }

  @Test
  void dirtyRing_namesTheSpaceWithTheSlot() {
    vm.vcpu.destroy();
    assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.OK);
    VcpuMmu vcpu = vm.newVcpu();
    vm.add(
        MemoryRegion.shared(SMM_SLOT | 3, GFN, 4, GFN << 12)
            .withFlags(MemoryRegion.LOG_DIRTY_PAGES));
    vcpu.enterSmm();
    assertThat(vcpu.load()).isEqualTo(Errno.OK);

    vm.mmu.handleFault(vcpu, (GFN + 2) << 12, TestVm.WRITE);

    DirtyRing ring = vcpu.dirtyRing();
    assertThat(ring).isNotNull();
    assertThat(ring.collect()).containsExactly(new DirtyRing.Entry(0x10003, 2));
    vm.events.clear();
    assertThat(vm.mmu.dirtyTracking().resetRings()).isEqualTo(1);
    assertThat(vm.takeEvents())
        .contains(Events.changedIn(1, GFN + 2, 1, LEAF + 0x2000, LEAF + 0x1ffe));
  }

  @Test
  void privateMemory_forbidsSmm() {
    use(TestVm.td());

    assertThat(vm.mmu.addressSpaces()).isEqualTo(1);
    assertThat(vm.mmu.memory().setRegion(MemoryRegion.shared(SMM_SLOT, GFN, 1, 0)))
        .isEqualTo(Errno.EINVAL);
    assertThatIllegalStateException()
        .isThrownBy(vm.vcpu::enterSmm)
        .withMessage("the VM has no address space 1");
  }
}
