package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The flags of memslots: which there can be, and what their change, or a move, does. */
class SlotFlagsTest {

  private static final long GFN = 0x40000;
  private static final long SIZE = 0x200;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final int READONLY = MemoryRegion.READONLY;
  private static final int GMEM = MemoryRegion.GUEST_MEMFD;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  private static MemoryRegion region(int flags) {
    return MemoryRegion.shared(0, GFN, SIZE, GFN << 12).withFlags(flags);
  }

  private Errno set(MemoryRegion region) {
    return vm.mmu.memory().setRegion(region);
  }

  @ParameterizedTest
  @ValueSource(ints = {8, 1 << 16, 1 << 17, GMEM, GMEM | LOG})
  void impossibleFlags_areEinval(int flags) {
    assertThat(set(region(flags))).isEqualTo(Errno.EINVAL);

    assertThat(vm.mmu.memslots().all()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(ints = {GMEM | LOG, GMEM | READONLY})
  void privateMemory_canBeNeitherLoggedNorReadOnly(int flags) {
    use(TestVm.td());
    GuestMemfd gmem = vm.newGmem(SIZE, PageLevel.LEVEL_4K);
    MemoryRegion possible = MemoryRegion.withGmem(0, GFN, SIZE, GFN << 12, gmem, 0);

    assertThat(set(possible.withFlags(flags))).isEqualTo(Errno.EINVAL);
    assertThat(set(possible)).isEqualTo(Errno.OK);
    assertThat(set(possible.withFlags(flags))).isEqualTo(Errno.EINVAL);
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 32764, 0x10000 + 32764, 0x20000, 0x7fff0000})
  void slotNumberThatThereIsNot_isEinval(int number) {
    assertThat(set(MemoryRegion.shared(number, GFN, 1, GFN << 12))).isEqualTo(Errno.EINVAL);
  }

  @Test
  void largestSlotNumbers_areTaken() {
    assertThat(set(MemoryRegion.shared(32763, GFN, 1, GFN << 12))).isEqualTo(Errno.OK);
    assertThat(set(MemoryRegion.shared(0x10000 + 32763, GFN, 1, GFN << 12))).isEqualTo(Errno.OK);
  }

  @Test
  void slotOf2To31Pages_isEinval() {
    assertThat(set(MemoryRegion.shared(0, 0, 1L << 31, 0))).isEqualTo(Errno.EINVAL);
    assertThat(set(MemoryRegion.shared(0, 0, (1L << 31) - 1, 0))).isEqualTo(Errno.OK);
  }

  @Test
  void byteForm_refusesWhatIsNoPage() {
    VmMemory memory = vm.mmu.memory();
    assertThat(memory.setRegion(0, 0, 0x1001, 0x1000, 0, null, 0)).isEqualTo(Errno.EINVAL);
    assertThat(memory.setRegion(0, 0, 0x1000, 0x1fff, 0, null, 0)).isEqualTo(Errno.EINVAL);
    assertThat(memory.setRegion(0, 0, 0x1000, 0x1000, 8, null, 0)).isEqualTo(Errno.EINVAL);
    assertThat(memory.setRegion(0, 0, 0x1000, 0x1000, 0, null, 1)).isEqualTo(Errno.EINVAL);
    assertThat(memory.setRegion(0, 0, 0x1000, -4096, 0, null, 0)).isEqualTo(Errno.EINVAL);

    assertThat(memory.setRegion(0x10003, LOG, 0x5000, 0x2000, 0x7000, null, 0)).isEqualTo(Errno.OK);

    assertThat(vm.slot(0x10003).region())
        .isEqualTo(new MemoryRegion(0x10003, 5, 2, 0x7000, LOG, null, 0));
  }

  @Test
  void byteForm_ofAttributes_takesPrivateAndNothingElse() {
    use(TestVm.swProtected());
    VmMemory memory = vm.mmu.memory();
    for (long attributes : new long[] {1, 2, 4, 16, 9, -8}) {
      assertThat(memory.setAttributes(0x1000, 0x1000, attributes)).isEqualTo(Errno.EINVAL);
    }
    assertThat(memory.setAttributes(0x1001, 0x1000, 8)).isEqualTo(Errno.EINVAL);
    assertThat(memory.setAttributes(0x1000, 0x800, 8)).isEqualTo(Errno.EINVAL);
    assertThat(memory.setAttributes(0x1000, 0, 8)).isEqualTo(Errno.EINVAL);
    assertThat(memory.setAttributes(-0x1000, 0x2000, 8)).isEqualTo(Errno.EINVAL);
    assertThat(vm.view.isPrivate(1)).isFalse();

    assertThat(memory.setAttributes(0x1000, 0x1000, 8)).isEqualTo(Errno.OK);

    assertThat(List.of(vm.view.isPrivate(0), vm.view.isPrivate(1), vm.view.isPrivate(2)))
        .containsExactly(false, true, false);
    assertThat(memory.setAttributes(0x1000, 0x1000, 0)).isEqualTo(Errno.OK);
    assertThat(vm.view.isPrivate(1)).isFalse();
  }

  @ParameterizedTest
  @ValueSource(ints = {0, LOG})
  void readOnly_canNotBeChanged(int flags) {
    vm.add(region(flags));

    assertThat(set(region(flags | READONLY))).isEqualTo(Errno.EINVAL);

    assertThat(vm.slot(0).region()).isEqualTo(region(flags));
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void loggingOfAReadOnlySlot_changesTheFlagAndNothingElse(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.add(region(READONLY));
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(GFN, TestVm.READ);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x80000000400009f5L);
    TestVm.State before = vm.state();
    vm.events.clear();

    vm.setFlags(READONLY | LOG);
    assertThat(vm.slot(0).isLogging()).isTrue();
    vm.setFlags(READONLY);

    assertThat(vm.takeEvents()).isEmpty();
    assertThat(vm.state()).isEqualTo(before);
  }

  @Test
  void sameFlagsAgain_keepSlotBitmapAndGeneration() {
    vm.add(region(LOG));
    vm.map(GFN, TestVm.WRITE);
    Memslot slot = vm.slot(0);
    long generation = vm.mmu.memslots().generation(0);
    vm.events.clear();

    vm.setFlags(LOG);

    assertThat(vm.slot(0)).isSameAs(slot);
    assertThat(vm.mmu.memslots().generation(0)).isEqualTo(generation);
    assertThat(vm.dirty()).containsExactly(0L);
    assertThat(vm.takeEvents()).isEmpty();
  }

  @Test
  void flagChange_isOneGeneration_andKeepsWhatTheSlotKnowsOfHugePages() {
    vm.add(region(0));
    Memslot before = vm.slot(0);

    vm.setFlags(LOG);

    Memslot after = vm.slot(0);
    assertThat(vm.mmu.memslots().generation(0)).isEqualTo(4);
    assertThat(after.lpage(PageLevel.LEVEL_2M)).isSameAs(before.lpage(PageLevel.LEVEL_2M));
    assertThat(after.lpage(PageLevel.LEVEL_1G)).isSameAs(before.lpage(PageLevel.LEVEL_1G));
    assertThat(before.isInvalid()).isFalse();
    assertThat(before.dirtyBitmap()).isNull();
    assertThat(after.dirtyBitmap()).isNotNull();
  }

  @Test
  void endAndNewBegin_forgetWhatWasDirty() {
    vm.add(region(LOG));
    vm.map(GFN, TestVm.WRITE);

    vm.setFlags(0);
    assertThat(vm.slot(0).dirtyBitmap()).isNull();
    vm.setFlags(LOG);

    assertThat(vm.dirty()).isEmpty();
  }

  @Test
  void move_ofALoggingSlot_takesItsBitmapAlong_andZapsWithoutASplit() {
    vm.add(region(LOG));
    vm.map(GFN + 3, TestVm.WRITE);
    vm.events.clear();

    assertThat(set(MemoryRegion.shared(0, 0x400, SIZE, GFN << 12).withFlags(LOG)))
        .isEqualTo(Errno.OK);

    assertThat(vm.dirty()).containsExactly(3L);
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.flushes()).isZero();
    assertThat(Events.only(vm.takeEvents(), "kvm_mmu_split", "kvm_mmu_zap_all_fast"))
        .containsExactly("kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0");
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    vm.map(0x405, TestVm.READ);
    assertThat(vm.dirty()).containsExactly(3L, 5L);
  }

  @Test
  void move_canEndLogging_withoutARecovery() {
    vm.add(region(LOG));
    vm.map(GFN, TestVm.WRITE);

    assertThat(set(MemoryRegion.shared(0, 0x400, SIZE, GFN << 12))).isEqualTo(Errno.OK);

    assertThat(vm.slot(0).dirtyBitmap()).isNull();
    assertThat(vm.flushes()).isZero();
  }

  @Test
  void move_ontoAnotherSlot_isEexistAndChangesNothing() {
    vm.add(region(LOG));
    vm.map(GFN, TestVm.WRITE);
    vm.add(MemoryRegion.shared(1, 0x400, 1, 0x400 << 12));
    TestVm.State before = vm.state();

    assertThat(set(MemoryRegion.shared(0, 0x201, SIZE, GFN << 12).withFlags(LOG)))
        .isEqualTo(Errno.EEXIST);

    assertThat(vm.state()).isEqualTo(before);
    assertThat(vm.dirty()).containsExactly(0L);
  }

  /** Without the quirk only the slot's leafs go, tables stay, and there is one flush. */
  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void delete_withoutTheQuirk_leavesOtherSlotsMapped(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.npt()));
    vm.mmu.memory().disableQuirkSlotZapAll();
    vm.add(region(0));
    vm.add(MemoryRegion.shared(1, GFN + SIZE, 1, (GFN + SIZE) << 12));
    vm.map(GFN + 1, TestVm.WRITE);
    vm.map(GFN + SIZE, TestVm.WRITE);
    long tables = vm.view.tables();
    vm.events.clear();

    assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);

    assertThat(vm.takeEvents())
        .containsExactly(
            Events.changed(GFN + 1, 1, 0x40001e67L, SpteFormat.NONPRESENT), Events.FLUSH);
    assertThat(vm.view.tables()).isEqualTo(tables);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    assertThat(vm.vcpu.directRoot().role().isInvalid()).isFalse();
  }

  @Test
  void delete_withoutTheQuirk_ofAHugePageThatAnotherSlotShares() {
    vm.mmu.memory().disableQuirkSlotZapAll();
    vm.add(region(0));
    assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);

    assertThat(vm.flushes()).isZero();
    assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.EINVAL);
  }
}
