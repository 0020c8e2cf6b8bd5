package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What happens to the page tables when a slot begins to log. */
class DirtyLoggingTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final long WRITE_PRESENT = TestVm.WRITE | PageFault.PRESENT;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);

  /** EPT leafs of {@link #GFN}; further pages are added to them. */
  private static final long HUGE_LEAF = 0x8600000040000bf7L;

  private static final long LEAF = 0x8600000040000b77L;
  private static final long PROTECTED = 0x8600000040000b75L;

  private TestVm vm = TestVm.ordinary();

  static Stream<Arguments> formats() {
    return Stream.of(KernelGeneration.values())
        .flatMap(
            generation ->
                Stream.of(
                    arguments(generation, SpteFormat.ept(), HUGE_LEAF, LEAF, PROTECTED),
                    arguments(
                        generation, SpteFormat.npt(), 0x40000ee7L, 0x40000e67L, 0x40000e65L)));
  }

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

  private long counter(MmuCounter counter) {
    return vm.mmu.counters().get(counter);
  }

  private long table(long gfn) {
    return vm.spte(vm.directRoot(), gfn, HUGE);
  }

  /** Everything is split before the first page is protected; one flush ends it. */
  @ParameterizedTest
  @MethodSource("formats")
  void enable_splitsThenProtectsThenFlushes(
      KernelGeneration generation, SpteFormat format, long huge, long leaf, long leafProtected) {
    use(TestVm.of(generation, format));
    mapHuge(2);

    vm.setFlags(LOG);

    long second = 0x200L << 12;
    List<String> expected =
        new ArrayList<>(
            List.of(
                Events.newPage(GFN, 1),
                Events.changed(GFN, 2, huge, table(GFN)),
                Events.split(GFN, huge, 2, 0),
                Events.newPage(GFN + 0x200, 1),
                Events.changed(GFN + 0x200, 2, huge + second, table(GFN + 0x200)),
                Events.split(GFN + 0x200, huge + second, 2, 0)));
    for (long base : new long[] {0, second}) {
      expected.addAll(
          Events.changed512(
              GFN + (base >> 12),
              i -> leaf + base + (i << 12),
              i -> leafProtected + base + (i << 12)));
    }
    expected.add(Events.FLUSH);
    assertThat(vm.takeEvents()).isEqualTo(expected);
    assertThat(vm.leafCounts()).containsExactly(1024L, 0L, 0L);
    assertThat(vm.dirty()).isEmpty();
    assertThat(vm.flushes()).isEqualTo(1);
    assertThat(vm.mmu.splits().get(SplitCause.DIRTY_LOG)).isEqualTo(2);
    assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
  }

  @Test
  void enable_splitsAndProtectsUnderTheReadLock() {
    mapHuge(1);
    List<Boolean> shared = new ArrayList<>();
    vm.hooks.onEvent(
        "kvm_mmu_get_page",
        () -> {
          shared.add(vm.mmuLock().isHeld(LockMode.SHARED));
          vm.hooks.onEvent(
              "kvm_mmu_split_huge_page",
              () ->
                  vm.hooks.onEvent(
                      "kvm_tdp_mmu_spte_changed",
                      () -> shared.add(vm.mmuLock().isHeld(LockMode.SHARED))));
        });

    vm.setFlags(LOG);

    assertThat(shared).containsExactly(true, true);
  }

  @Test
  void enable_withNothingMapped_flushesAllTheSame() {
    vm.addShared(GFN, 0x200);
    vm.events.clear();

    vm.setFlags(LOG);

    assertThat(vm.takeEvents()).containsExactly(Events.FLUSH);
    assertThat(vm.view.tables()).isEqualTo(1);
  }

  @Test
  void enable_again_leavesAloneWhatIsProtectedAlready() {
    vm.addShared(GFN, 4);
    for (int i = 0; i < 3; i++) {
      vm.map(GFN + i, TestVm.WRITE);
    }
    vm.memory.setWritable(false);
    vm.map(GFN + 3, TestVm.READ);
    vm.memory.setWritable(true);
    vm.setFlags(LOG);
    assertThat(vm.fault(GFN + 1, WRITE_PRESENT)).isEqualTo(FIXED);
    vm.setFlags(0);
    vm.events.clear();

    vm.setFlags(LOG);

    assertThat(vm.takeEvents())
        .containsExactly(
            Events.changed(GFN + 1, 1, LEAF + 0x1000, PROTECTED + 0x1000), Events.FLUSH);
    assertThat(vm.dirty()).isEmpty();
  }

  @Test
  void enable_touchesNoOtherSlot() {
    mapHuge(1);
    vm.add(MemoryRegion.shared(1, GFN + 0x200, 0x200, (GFN + 0x200) << 12));
    vm.map(GFN + 0x200, TestVm.WRITE);

    vm.setFlags(LOG);

    assertThat(vm.peek(vm.directRoot(), GFN + 0x200)).isEqualTo(HUGE_LEAF + (0x200L << 12));
    assertThat(vm.leafCounts()).containsExactly(512L, 1L, 0L);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void enable_withoutEagerSplit_protectsTheHugeLeaf(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.setParameter("eager_page_split", "N");
    mapHuge(2);

    vm.setFlags(LOG);

    long second = 0x200L << 12;
    assertThat(vm.takeEvents())
        .containsExactly(
            Events.changed(GFN, 2, HUGE_LEAF, HUGE_LEAF - 2),
            Events.changed(GFN + 0x200, 2, HUGE_LEAF + second, HUGE_LEAF - 2 + second),
            Events.FLUSH);
    assertThat(vm.leafCounts()).containsExactly(0L, 2L, 0L);
  }

  /** Splitting is best effort: the slot logs, and what is still huge is protected as it is. */
  @ParameterizedTest
  @MethodSource("places")
  void enable_noMemoryForTheSecondSplit_keepsTheFirstAndProtectsTheRest(String place) {
    mapHuge(3);
    vm.pages().faults().failNext(place, 2);

    vm.setFlags(LOG);

    List<String> events = vm.takeEvents();
    assertThat(Events.only(events, "kvm_mmu_split_huge_page"))
        .containsExactly(
            Events.split(GFN, HUGE_LEAF, 2, 0),
            Events.split(GFN + 0x200, HUGE_LEAF + (0x200L << 12), 2, -12));
    assertThat(events.subList(events.size() - 3, events.size()))
        .containsExactly(
            Events.changed(
                GFN + 0x200, 2, HUGE_LEAF + (0x200L << 12), HUGE_LEAF - 2 + (0x200L << 12)),
            Events.changed(
                GFN + 0x400, 2, HUGE_LEAF + (0x400L << 12), HUGE_LEAF - 2 + (0x400L << 12)),
            Events.FLUSH);
    assertThat(vm.leafCounts()).containsExactly(512L, 2L, 0L);
    assertThat(vm.pages().census())
        .containsEntry(PageOwner.MMU_PAGE_TABLE, vm.view.tables() + vm.view.cachedTables());
    assertThat(vm.slot(0).isLogging()).isTrue();
  }

  static Stream<String> places() {
    return Stream.of(MmuPage.HEADER_SLAB, PageOwner.MMU_PAGE_TABLE.tag());
  }

  /** Race R4: the children are built again, with the bit that hardware set. */
  @Test
  void split_hardwareSetsTheAccessedBitBeforeTheExchange_isDoneAgainWithIt() {
    vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);
    assertThat(vm.vcpu.preFault(GFN << 12, 4096)).isEqualTo(new PreFault(Errno.OK, 0));
    long aged = HUGE_LEAF - 0x100;
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(aged);
    vm.events.clear();
    vm.hooks.onExchange(() -> vm.poke(GFN, HUGE, HUGE_LEAF));

    vm.setFlags(LOG);

    assertThat(vm.takeEvents().subList(0, 5))
        .containsExactly(
            Events.newPage(GFN, 1),
            Events.split(GFN, aged, 2, -16),
            Events.newPage(GFN, 1),
            Events.changed(GFN, 2, HUGE_LEAF, table(GFN)),
            Events.split(GFN, HUGE_LEAF, 2, 0));
    assertThat(vm.peek(vm.directRoot(), GFN + 511)).isEqualTo(PROTECTED + (511L << 12));
    assertThat(counter(MmuCounter.SPLIT_RETRIES)).isEqualTo(1);
    assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
  }

  /** Race R3: the leaf is zapped while the lock is dropped to allocate. */
  @Test
  void split_leafZappedDuringTheAllocation_isSkippedAndItsTableFreed() {
    mapHuge(1);
    vm.hooks.onMmuUnlock(() -> vm.mmu.notifier().invalidateRange(GFN << 12, (GFN + 1) << 12));

    vm.setFlags(LOG);

    assertThat(Events.only(vm.takeEvents(), "kvm_mmu_split", "kvm_mmu_get_page")).isEmpty();
    assertThat(vm.view.directLeafs()).isEmpty();
    assertThat(vm.pages().census())
        .containsEntry(PageOwner.MMU_PAGE_TABLE, vm.view.tables() + vm.view.cachedTables());
  }

  @Test
  void protect_entryChangedSinceItWasRead_isJudgedAgain() {
    vm.addShared(GFN, 1);
    assertThat(vm.vcpu.preFault(GFN << 12, 4096).error()).isEqualTo(Errno.OK);
    vm.events.clear();
    vm.hooks.onExchange(() -> vm.poke(GFN, SMALL, LEAF));

    vm.setFlags(LOG);

    assertThat(vm.takeEvents())
        .containsExactly(Events.changed(GFN, 1, LEAF, PROTECTED), Events.FLUSH);
  }

  @Test
  void protect_anotherProtectsFirst_isContent() {
    vm.addShared(GFN, 1);
    vm.map(GFN, TestVm.WRITE);
    vm.events.clear();
    vm.hooks.onExchange(() -> vm.poke(GFN, SMALL, PROTECTED));

    vm.setFlags(LOG);

    assertThat(vm.takeEvents()).containsExactly(Events.FLUSH);
  }

  @Test
  void protect_lockWaitedFor_goesOnWhereItWas() {
    vm.addShared(GFN, 4);
    for (int i = 0; i < 4; i++) {
      vm.map(GFN + i, TestVm.WRITE);
    }
    vm.events.clear();
    vm.hooks.onEvent(
        "kvm_tdp_mmu_spte_changed",
        () ->
            vm.hooks.onYield(
                () -> {
                  vm.events.add("yield");
                  assertThat(vm.fault(GFN, WRITE_PRESENT)).isEqualTo(FIXED);
                  vm.events.remove(vm.events.size() - 1);
                }));

    vm.setFlags(LOG);

    List<String> expected = new ArrayList<>();
    for (long i = 0; i < 4; i++) {
      expected.add(Events.changed(GFN + i, 1, LEAF + (i << 12), PROTECTED + (i << 12)));
    }
    expected.add(1, "yield");
    expected.add(Events.FLUSH);
    assertThat(vm.takeEvents()).isEqualTo(expected);
    assertThat(vm.dirty()).containsExactly(0L);
    assertThat(counter(MmuCounter.LOCK_DROPS_RESCHED)).isEqualTo(1);
  }

  @Test
  void rootReplacedWhileTheLockIsDropped_isWalkedToItsEnd_andTheNewRootLogs() {
    mapHuge(2);
    vm.hooks.onMmuUnlock(() -> vm.mmu.zapAllFast());

    vm.setFlags(LOG);

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
    vm.map(GFN + 1, TestVm.WRITE);
    assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    assertThat(vm.dirty()).containsExactly(1L);
  }

  @Test
  void initiallySet_enablingTouchesNothing_andEveryPageIsDirty() {
    assertThat(vm.mmu.dirtyTracking().enableManualProtect(3)).isEqualTo(Errno.OK);
    mapHuge(1);
    TestVm.State before = vm.state();

    vm.setFlags(LOG);

    assertThat(vm.takeEvents()).isEmpty();
    assertThat(vm.state()).isEqualTo(before);
    assertThat(vm.dirty()).hasSize(512);
  }

  /** A TD's shared memory can be logged; its gfns are without the shared bit in the events. */
  @Test
  void slotOfATd_isProtectedInTheDirectRootOnly() {
    use(TestVm.td());
    vm.add(MemoryRegion.shared(0, GFN, 0x200, GFN << 12));
    vm.addPrivate(0x200, 1, SMALL);
    vm.map(0x200, TestVm.PRIVATE_WRITE);
    vm.memory.setLevel(HUGE);
    vm.map(GFN | TestVm.SHARED_BIT, TestVm.WRITE);
    List<MappedLeaf> mirror = vm.view.mirrorLeafs();
    vm.events.clear();

    vm.setFlags(LOG);

    long huge = 0x8600000040000bb7L;
    List<String> events = vm.takeEvents();
    assertThat(Events.only(events, "kvm_mmu_split")).containsExactly(Events.split(GFN, huge, 2, 0));
    assertThat(events.subList(3, 515))
        .isEqualTo(
            Events.changed512(
                GFN, i -> 0x8600000040000b37L + (i << 12), i -> 0x8600000040000b35L + (i << 12)));
    assertThat(vm.view.mirrorLeafs()).isEqualTo(mirror);
    assertThat(vm.fault((GFN | TestVm.SHARED_BIT) + 9, WRITE_PRESENT)).isEqualTo(FIXED);
    assertThat(vm.dirty()).containsExactly(9L);
  }

  @Test
  void boundary_kernelRoundsUp_soTheFirstFrameOfTheNextHugePageGoesUnseen() {
    GfnRange unseen = new GfnRange(0x3c1, 0x401);
    GfnRange seen = new GfnRange(0x3c1, 0x402);
    GfnRange superfluous = new GfnRange(0x400, 0x402);
    GfnRange inside = new GfnRange(0x401, 0x403);

    assertThat(
            Stream.of(unseen, seen, superfluous, inside).map(DirtyLogBoundary.ROUNDED_UP::crosses))
        .containsExactly(false, true, true, false);
    assertThat(
            Stream.of(unseen, seen, superfluous, inside)
                .map(DirtyLogBoundary.CONTAINING_PAGE::crosses))
        .containsExactly(true, true, false, false);
  }
}
