package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What the host's memory management does to a VM. */
class MmuNotifierTest {

  private static final long GFN = 0x40000;
  private static final long GPA = GFN << 12;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final FaultOutcome RETRY = FaultOutcome.of(RetPf.RETRY);
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
  private static final long LEAF = 0x8600000040000b77L;
  private static final long HUGE_LEAF = 0x8600000040000bf7L;

  private TestVm vm = TestVm.ordinary();

  static Stream<Arguments> formats() {
    return Stream.of(KernelGeneration.values())
        .flatMap(
            generation ->
                Stream.of(
                    arguments(generation, SpteFormat.ept(), LEAF, LEAF - 0x100),
                    arguments(generation, SpteFormat.npt(), 0x40000e67L, 0x40000e47L)));
  }

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  private MmuNotifier notifier() {
    return vm.mmu.notifier();
  }

  private void mapSmall(int count) {
    vm.addShared(GFN, count);
    for (int i = 0; i < count; i++) {
      vm.map(GFN + i, TestVm.WRITE);
    }
    vm.events.clear();
  }

  private static String unmapEvent(long start, long end) {
    return "kvm_unmap_hva_range: mmu notifier unmap range: 0x%014x -- 0x%014x"
        .formatted(start, end);
  }

  private static String ageEvent(long start, long end) {
    return "kvm_age_hva: mmu notifier age hva: 0x%014x -- 0x%014x".formatted(start, end);
  }

  @Test
  void invalidate_dropsTheLeafsOfTheRange_leavesTables_flushesOnce() {
    mapSmall(4);
    long tables = vm.view.tables();

    notifier().invalidateRange(GPA + 0x1000, GPA + 0x3000);

    assertThat(vm.takeEvents())
        .containsExactly(
            unmapEvent(GPA + 0x1000, GPA + 0x3000),
            Events.changed(GFN + 1, 1, LEAF + 0x1000, SpteFormat.NONPRESENT),
            Events.changed(GFN + 2, 1, LEAF + 0x2000, SpteFormat.NONPRESENT),
            Events.FLUSH);
    assertThat(vm.leafCounts()).containsExactly(2L, 0L, 0L);
    assertThat(vm.view.tables()).isEqualTo(tables);
    assertThat(vm.mmu.invalidate().seq()).isEqualTo(1);
  }

  @Test
  void invalidate_partOfAPage_dropsThePage() {
    mapSmall(3);

    notifier().invalidateRange(GPA + 0x1fff, GPA + 0x2001);

    assertThat(vm.view.directLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN);
  }

  @Test
  void invalidate_partOfAHugePage_dropsItWholeWithoutASplit() {
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);
    vm.map(GFN, TestVm.WRITE);
    vm.events.clear();

    notifier().invalidateRange(GPA + 0x5000, GPA + 0x6000);

    assertThat(vm.takeEvents())
        .containsExactly(
            unmapEvent(GPA + 0x5000, GPA + 0x6000),
            Events.changed(GFN, 2, HUGE_LEAF, SpteFormat.NONPRESENT),
            Events.FLUSH);
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
  }

  @Test
  void invalidate_outsideEverySlot_isTracedAndNothingElse() {
    mapSmall(1);
    TestVm.State before = vm.state();
    List<String> ran = new ArrayList<>();

    notifier().invalidateRange(GPA + 0x1000, GPA + 0x9000, () -> ran.add("change"));

    assertThat(vm.takeEvents()).containsExactly(unmapEvent(GPA + 0x1000, GPA + 0x9000));
    assertThat(ran).containsExactly("change");
    assertThat(vm.state()).isEqualTo(before);
    assertThat(vm.mmu.invalidate().seq()).isZero();
  }

  @Test
  void invalidate_nothingMapped_doesNotFlush_butFaultsRetry() {
    vm.addShared(GFN, 1);
    vm.events.clear();

    notifier().invalidateRange(GPA, GPA + 0x1000);

    assertThat(vm.flushes()).isZero();
    assertThat(vm.mmu.invalidate().seq()).isEqualTo(1);
  }

  @Test
  void invalidate_whileItGoesOn_faultsRetryInsideTheRangeOnly() {
    mapSmall(3);
    List<FaultOutcome> outcomes = new ArrayList<>();

    notifier()
        .invalidateRange(
            GPA + 0x1000,
            GPA + 0x2000,
            () -> {
              outcomes.add(vm.fault(GFN + 1, TestVm.WRITE));
              outcomes.add(vm.fault(GFN + 2, TestVm.WRITE));
            });

    assertThat(outcomes).containsExactly(RETRY, FaultOutcome.of(RetPf.SPURIOUS));
    assertThat(vm.fault(GFN + 1, TestVm.WRITE)).isEqualTo(FIXED);
    assertThat(vm.leafCounts()).containsExactly(3L, 0L, 0L);
  }

  @Test
  void invalidate_betweenAFaultsLookupAndItsMapping_makesItRetryOnce() {
    vm.addShared(GFN, 1);
    boolean[] first = {true};
    vm.memory.setOnFaultIn(
        () -> {
          if (first[0]) {
            first[0] = false;
            notifier().invalidateRange(GPA, GPA + 0x1000);
          }
        });

    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(RETRY);
    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FIXED);
  }

  @Test
  void invalidate_twoAtATime_widenTheRangeUntilBothHaveEnded() {
    vm.addShared(GFN, 5);
    List<FaultOutcome> outcomes = new ArrayList<>();

    notifier()
        .invalidateRange(
            GPA,
            GPA + 0x1000,
            () -> {
              notifier().invalidateRange(GPA + 0x3000, GPA + 0x4000);
              outcomes.add(vm.fault(GFN + 2, TestVm.WRITE));
              outcomes.add(vm.fault(GFN + 4, TestVm.WRITE));
            });

    assertThat(outcomes).containsExactly(RETRY, FIXED);
    assertThat(vm.mmu.invalidate().isInProgress()).isFalse();
    assertThat(vm.mmu.invalidate().seq()).isEqualTo(2);
  }

  @Test
  void invalidate_lockWaitedFor_flushesBeforeItLetsGo() {
    mapSmall(3);
    List<Long> seen = new ArrayList<>();
    vm.hooks.onEvent(
        "kvm_tdp_mmu_spte_changed", () -> vm.hooks.onYield(() -> seen.add(vm.flushes())));

    notifier().invalidateRange(GPA, GPA + 0x3000);

    assertThat(seen).containsExactly(1L);
    assertThat(vm.flushes()).isEqualTo(2);
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_RESCHED)).isEqualTo(1);
  }

  /** The new root's mappings are made after the change; those of the old root need no flush. */
  @Test
  void invalidate_rootReplacedWhileItYields_zapsTheOldRootWithoutAFlush() {
    mapSmall(3);
    vm.hooks.onEvent(
        "kvm_tdp_mmu_spte_changed",
        () ->
            vm.hooks.onYield(
                () ->
                    vm.mmu.withMmuLock(
                        () -> {
                          vm.mmu.roots().invalidate(EnumSet.of(RootKind.DIRECT));
                          return Errno.OK;
                        })));

    notifier().invalidateRange(GPA, GPA + 0x3000);

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.flushes()).isEqualTo(1);
    vm.mmu.roots().zapInvalidated(LockMode.SHARED);
  }

  @Test
  void invalidate_ofATd_leavesTheMirrorAlone() {
    use(TestVm.td());
    vm.addPrivate(GFN, 1, SMALL);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    vm.addShared(GFN + 1, 1);
    vm.map((GFN + 1) | TestVm.SHARED_BIT, TestVm.WRITE);
    vm.events.clear();

    notifier().invalidateRange(GPA, GPA + 0x2000);

    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.view.mirrorLeafs()).hasSize(1);
    assertThat(Events.only(vm.takeEvents(), "kvm_tdp_mmu_spte_changed"))
        .containsExactly(Events.changed(GFN + 1, 1, 0x8600000040001b37L, SpteFormat.NONPRESENT));
  }

  /** One event for each accessed leaf, and none for those that were aged already. */
  @ParameterizedTest
  @MethodSource("formats")
  void clearYoung_clearsTheAccessedBitOnly(
      KernelGeneration generation, SpteFormat format, long leaf, long aged) {
    use(TestVm.of(generation, format));
    mapSmall(2);

    assertThat(notifier().clearYoung(GPA, GPA + 0x1000)).isTrue();
    assertThat(notifier().clearYoung(GPA, GPA + 0x2000)).isTrue();
    assertThat(notifier().clearYoung(GPA, GPA + 0x2000)).isFalse();

    assertThat(vm.takeEvents())
        .containsExactly(
            ageEvent(GPA, GPA + 0x1000),
            Events.changed(GFN, 1, leaf, aged),
            ageEvent(GPA, GPA + 0x2000),
            Events.changed(GFN + 1, 1, leaf + 0x1000, aged + 0x1000),
            ageEvent(GPA, GPA + 0x2000));
    assertThat(vm.flushes()).isZero();
  }

  @Test
  void clearYoung_ofPartOfAHugePage_agesItWhole() {
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);
    vm.map(GFN, TestVm.WRITE);

    assertThat(notifier().clearYoung(GPA + 0x7000, GPA + 0x8000)).isTrue();

    assertThat(vm.view.directLeafs())
        .containsExactly(new MappedLeaf(GFN, HUGE, GFN, HUGE_LEAF - 0x100));
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void clearFlushYoung_flushesOn6_12Only(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    mapSmall(1);
    long flush = generation == KernelGeneration.LINUX_6_12 ? 1 : 0;

    assertThat(notifier().clearFlushYoung(GPA, GPA + 0x1000)).isTrue();
    assertThat(vm.flushes()).isEqualTo(flush);

    assertThat(notifier().clearFlushYoung(GPA, GPA + 0x1000)).isFalse();
    assertThat(vm.flushes()).isEqualTo(flush);
  }

  @Test
  void testYoung_readsAndChangesNothing() {
    mapSmall(2);
    notifier().clearYoung(GPA, GPA + 0x1000);
    TestVm.State before = vm.state();
    vm.events.clear();

    assertThat(notifier().testYoung(GPA)).isFalse();
    assertThat(notifier().testYoung(GPA + 0x1fff)).isTrue();
    assertThat(notifier().testYoung(GPA + 0x2000)).isFalse();

    assertThat(vm.state()).isEqualTo(before);
    assertThat(vm.takeEvents())
        .containsExactly(
            "kvm_test_age_hva: mmu notifier test age hva: 0x00000040000000",
            "kvm_test_age_hva: mmu notifier test age hva: 0x00000040001fff",
            "kvm_test_age_hva: mmu notifier test age hva: 0x00000040002000");
  }

  @Test
  void clearYoung_withoutAdBits_takesThePermissionsUntilTheNextAccess() {
    use(TestVm.of(KernelGeneration.LINUX_7_1, SpteFormat.eptWithoutAccessDirty()));
    mapSmall(1);

    assertThat(notifier().clearYoung(GPA, GPA + 0x1000)).isTrue();
    assertThat(notifier().testYoung(GPA)).isFalse();

    assertThat(vm.takeEvents())
        .contains(Events.changed(GFN, 1, 0x8610000040000b77L, 0x8750000040000a70L));
    assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FIXED);
    assertThat(notifier().testYoung(GPA)).isTrue();
  }

  @Test
  void clearYoung_withoutAdBits_entryChangedMeanwhile_staysYoungAndIsNotTraced() {
    use(TestVm.of(KernelGeneration.LINUX_7_1, SpteFormat.eptWithoutAccessDirty()));
    mapSmall(1);
    long protectedLeaf = 0x8610000040000b75L;
    vm.hooks.onExchange(() -> vm.poke(GFN, SMALL, protectedLeaf));

    assertThat(notifier().clearYoung(GPA, GPA + 0x1000)).isTrue();

    assertThat(vm.takeEvents()).containsExactly(ageEvent(GPA, GPA + 0x1000));
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(protectedLeaf);
  }

  /** With A/D bits just the one bit is cleared, whatever else changed since the entry was read. */
  @Test
  void clearYoung_writeProtectedMeanwhile_keepsTheProtection() {
    mapSmall(1);
    vm.hooks.onExchange(() -> vm.poke(GFN, SMALL, LEAF - 2));

    assertThat(notifier().clearYoung(GPA, GPA + 0x1000)).isTrue();

    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(LEAF - 0x102);
    assertThat(vm.takeEvents()).contains(Events.changed(GFN, 1, LEAF - 2, LEAF - 0x102));
  }

  /** Aging is for valid roots: what is about to be zapped is nobody's page. */
  @Test
  void aging_passesOverRootsOnTheirWayOut() {
    mapSmall(1);
    vm.mmu.roots().invalidate(EnumSet.of(RootKind.DIRECT));

    assertThat(notifier().testYoung(GPA)).isFalse();
    assertThat(notifier().clearYoung(GPA, GPA + 0x1000)).isFalse();

    assertThat(Events.only(vm.takeEvents(), "kvm_tdp_mmu_spte_changed")).isEmpty();
    vm.mmu.roots().zapInvalidated(LockMode.EXCLUSIVE);
  }

  @Test
  void aging_takesNoMmuLock() {
    mapSmall(1);
    vm.mmuLock().lock(LockMode.EXCLUSIVE);
    try {
      assertThat(notifier().clearYoung(GPA, GPA + 0x1000)).isTrue();
      assertThat(notifier().testYoung(GPA)).isFalse();
    } finally {
      vm.mmuLock().unlock(LockMode.EXCLUSIVE);
    }
  }

  @Test
  void release_zapsEveryDirectRoot_alsoOneOnItsWayOut() {
    mapSmall(2);
    vm.mmu.roots().invalidate(EnumSet.of(RootKind.DIRECT));
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    vm.map(GFN, TestVm.WRITE);
    assertThat(vm.leafCounts()).containsExactly(3L, 0L, 0L);

    notifier().release();

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    vm.mmu.roots().zapInvalidated(LockMode.EXCLUSIVE);
    assertThat(vm.view.tables()).isEqualTo(1);
  }

  @Test
  void release_ofATd_leavesTheMirrorAlone() {
    use(TestVm.td());
    vm.addPrivate(GFN, 1, SMALL);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    vm.addShared(GFN + 1, 1);
    vm.map((GFN + 1) | TestVm.SHARED_BIT, TestVm.WRITE);
    List<MappedLeaf> mirror = vm.view.mirrorLeafs();

    notifier().release();

    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.view.mirrorLeafs()).isEqualTo(mirror).hasSize(1);
    assertThat(vm.view.mirrorTables()).hasSize(3);
  }
}
