package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Tables that stand because of an instruction fetch, and how huge pages come back. */
class NxHugePagesTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;

  private TestVm vm = TestVm.ordinary();

  static Stream<Arguments> leafs() {
    return Stream.of(KernelGeneration.values())
        .flatMap(
            generation ->
                Stream.of(
                    arguments(
                        generation,
                        SpteFormat.ept(),
                        0x8600000040000bf3L,
                        0x8600000040000b77L,
                        0x8600000040000977L),
                    arguments(
                        generation,
                        SpteFormat.npt(),
                        0x8000000040000ee7L,
                        0x40000e67L,
                        0x40000e27L)));
  }

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  /** Four huge pages; the first {@code fetched} of them were executed before anything else. */
  private void use(KernelGeneration generation, SpteFormat format, int fetched) {
    vm.assertSoundAndDestroy();
    vm = TestVm.nx(generation, format);
    vm.addShared(GFN, 0x800);
    vm.memory.setLevel(HUGE);
    for (int i = 0; i < fetched; i++) {
      vm.map(GFN + i * 0x200L, TestVm.EXEC);
    }
    vm.events.clear();
  }

  private void use(KernelGeneration generation, int fetched) {
    use(generation, SpteFormat.ept(), fetched);
  }

  private void recover() {
    vm.mmu.module().recoverNxHugePages();
  }

  private long splits() {
    return vm.stats().get(VmStat.NX_LPAGE_SPLITS);
  }

  /** 6.12 writes the fetched page anew, and leaves its dirty bit to hardware. */
  @ParameterizedTest
  @MethodSource("leafs")
  void huge_isMappedWithoutExecute_andItsPartsRegainIt(
      KernelGeneration generation, SpteFormat format, long leaf, long part, long withoutDirty) {
    use(generation, format, 0);

    vm.map(GFN, TestVm.READ);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(leaf);
    FaultOutcome outcome = vm.fault(GFN + 5, TestVm.EXEC);

    boolean spurious = generation == KernelGeneration.LINUX_7_1;
    assertThat(outcome).isEqualTo(FaultOutcome.of(spurious ? RetPf.SPURIOUS : RetPf.FIXED));
    assertThat(vm.peek(vm.directRoot(), GFN + 6)).isEqualTo(part + 0x6000);
    assertThat(vm.peek(vm.directRoot(), GFN + 5))
        .isEqualTo((spurious ? part : withoutDirty) + 0x5000);
    assertThat(splits()).isEqualTo(1);
    assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
  }

  /** With the write lock only what is present is torn down; with the read lock every entry is. */
  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void recover_zapsTheTableWholeAndFlushesOnce(KernelGeneration generation) {
    use(generation, 1);
    long table = vm.spte(vm.directRoot(), GFN, HUGE);

    recover();

    List<String> expected = new ArrayList<>();
    expected.add(Events.changed(GFN, 2, table, SpteFormat.NONPRESENT));
    expected.add(Events.zappedPage(GFN, 1));
    expected.add(Events.changed(GFN, 1, 0x8600000040000b77L, SpteFormat.FROZEN));
    for (long i = 1; generation == KernelGeneration.LINUX_7_1 && i < 512; i++) {
      expected.add(Events.changed(GFN + i, 1, SpteFormat.NONPRESENT, SpteFormat.FROZEN));
    }
    expected.add(Events.FLUSH);
    assertThat(vm.takeEvents()).isEqualTo(expected);
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(splits()).isZero();

    vm.map(GFN, TestVm.READ);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000bf3L);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void recover_holdsMmuLockAsItsKernelDoes(KernelGeneration generation) {
    use(generation, 1);
    List<LockMode> held = new ArrayList<>();
    vm.hooks.onPagesUnlock(
        () -> Stream.of(LockMode.values()).filter(vm.mmuLock()::isHeld).forEach(held::add));

    recover();

    assertThat(held)
        .containsExactly(
            generation == KernelGeneration.LINUX_7_1 ? LockMode.SHARED : LockMode.EXCLUSIVE);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void recover_takesTheOldestOneInRatio_roundedUp(KernelGeneration generation) {
    use(generation, 3);
    vm.setParameter("nx_huge_pages_recovery_ratio", "2");

    recover();

    assertThat(vm.view.directLeafs())
        .containsExactly(new MappedLeaf(GFN + 0x400, SMALL, GFN + 0x400, 0x8600000040400b77L));
    assertThat(splits()).isEqualTo(1);
    assertThat(vm.flushes()).isEqualTo(1);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void recover_nothingListedOrNothingToDo_touchesNothing(KernelGeneration generation) {
    use(generation, 0);
    recover();
    vm.map(GFN, TestVm.EXEC);
    vm.setParameter("nx_huge_pages_recovery_ratio", "0");
    TestVm.State before = vm.state();
    vm.events.clear();

    recover();

    assertThat(vm.state()).isEqualTo(before);
    assertThat(vm.takeEvents()).isEmpty();
    assertThat(splits()).isEqualTo(1);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void recover_ofASlotThatLogs_onlyUnlists(KernelGeneration generation) {
    use(generation, 1);
    vm.setFlags(MemoryRegion.LOG_DIRTY_PAGES);
    String dump = vm.view.dump();
    long flushes = vm.flushes();
    vm.events.clear();

    recover();

    assertThat(vm.view.dump()).isEqualTo(dump);
    assertThat(vm.takeEvents()).isEmpty();
    assertThat(vm.flushes()).isEqualTo(flushes);
    assertThat(splits()).isZero();
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void recover_lockWaitedFor_flushesBeforeItLetsGo(KernelGeneration generation) {
    use(generation, 2);
    vm.setParameter("nx_huge_pages_recovery_ratio", "1");
    List<Long> seen = new ArrayList<>();
    vm.hooks.onYield(
        () -> {
          vm.kernel().locks().assertNoneHeld("the yield");
          seen.add(vm.flushes());
          seen.add(splits());
          vm.map(GFN, TestVm.READ);
        });

    recover();

    assertThat(seen).containsExactly(1L, 1L);
    assertThat(vm.flushes()).isEqualTo(2);
    assertThat(splits()).isZero();
    assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_RESCHED)).isEqualTo(1);
    assertThat(vm.view.directLeafs())
        .containsExactly(new MappedLeaf(GFN, HUGE, GFN, 0x8600000040000bf3L));
  }

  @Test
  void recover_tableUnlinkedSinceItWasListed_isLeftAlone() {
    use(KernelGeneration.LINUX_7_1, 1);
    vm.hooks.onPagesUnlock(
        () -> {
          zapTable();
          vm.events.clear();
        });

    recover();

    assertThat(vm.takeEvents()).isEmpty();
    assertThat(vm.flushes()).isZero();
    assertThat(splits()).isZero();
    assertThat(vm.view.tables()).isEqualTo(3);
  }

  @Test
  void recover_losesTheRaceForTheEntry_leavesWhatIsThere() {
    use(KernelGeneration.LINUX_7_1, 1);
    vm.hooks.onExchange(this::zapTable);

    recover();

    assertThat(Events.only(vm.takeEvents(), "flush_remote_tlbs", "kvm_mmu_prepare"))
        .containsExactly(Events.zappedPage(GFN, 1));
    assertThat(splits()).isZero();
  }

  @Test
  void recover_anotherTableInItsPlace_isLeftAlone() {
    use(KernelGeneration.LINUX_7_1, 1);
    assertThat(vm.vcpu.topup()).isEqualTo(Errno.OK);
    vm.hooks.onPagesUnlock(
        () -> {
          zapTable();
          PageFault fault = new PageFault(vm.mmu, (GFN + 7) << 12, TestVm.EXEC, false);
          fault.setSlot(vm.slot(0));
          fault.resolve(GFN + 7, true, HUGE);
          assertThat(new PageFaultMapper(vm.mmu).map(vm.vcpu, fault)).isEqualTo(RetPf.FIXED);
        });

    recover();

    assertThat(vm.view.directLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN + 7);
    assertThat(splits()).isEqualTo(1);
    assertThat(vm.flushes()).isZero();
  }

  /** What another holder of the read lock may do at any time. */
  private void zapTable() {
    TdpIter iter = new TdpIter(vm.mmu, vm.directRoot(), HUGE, GFN, GFN + 1);
    while (iter.level() != HUGE) {
      iter.next();
    }
    SpteWriter.forMode(vm.mmu, LockMode.SHARED).set(iter, SpteFormat.NONPRESENT);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void splitByDirtyLogging_isNotListed_andItsPartsAreExecutable(KernelGeneration generation) {
    use(generation, 0);
    vm.map(GFN, TestVm.READ);

    vm.setFlags(MemoryRegion.LOG_DIRTY_PAGES);

    assertThat(splits()).isZero();
    assertThat(vm.peek(vm.directRoot(), GFN + 1)).isEqualTo(0x8600000040001b75L);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void endOfDirtyLogging_takesTheTableOffTheList(KernelGeneration generation) {
    use(generation, 1);
    vm.setFlags(MemoryRegion.LOG_DIRTY_PAGES);

    vm.setFlags(0);

    assertThat(splits()).isZero();
    boolean inPlace = generation == KernelGeneration.LINUX_7_1;
    assertThat(vm.leafCounts()).containsExactly(0L, inPlace ? 1L : 0L, 0L);
    assertThat(vm.peek(vm.directRoot(), GFN))
        .isEqualTo(inPlace ? 0x8600000040000bf1L : SpteFormat.NONPRESENT);
  }
}
