package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** How huge pages come back when dirty logging ends: 6.12 zaps, 7.1 recovers in place. */
class HugePageRecoveryTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final PageLevel GIGABYTE = PageLevel.LEVEL_1G;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  private void use(TestVm other) {
    vm.assertSoundAndDestroy();
    vm = other;
  }

  /** Slot 0 with that many pages from {@link #GFN} on, whose 2M pages were split by logging. */
  private void splitByLogging(long pages) {
    vm.addShared(GFN, pages);
    vm.memory.setLevel(HUGE);
    for (long gfn = GFN; gfn < GFN + pages; gfn += 0x200) {
      vm.map(gfn, TestVm.WRITE);
    }
    vm.setFlags(LOG);
    vm.events.clear();
  }

  private long table(long gfn) {
    return vm.spte(vm.directRoot(), gfn, HUGE);
  }

  private void write(long gfn) {
    assertThat(vm.fault(gfn, TestVm.WRITE | PageFault.PRESENT)).isEqualTo(FIXED);
  }

  /** The end of a full table whose first {@code written} pages are writable. */
  private static List<String> frozen(long gfn, long written) {
    List<String> events = new ArrayList<>();
    events.add(Events.zappedPage(gfn, 1));
    events.addAll(
        Events.changed512(
            gfn,
            i -> (i < written ? 0x8600000000000b77L : 0x8600000000000b75L) + ((gfn + i) << 12),
            i -> SpteFormat.FROZEN));
    return events;
  }

  @Nested
  class InPlace {

    @Test
    void table_becomesTheHugeLeafAndThenTlbsAreFlushed() {
      splitByLogging(0x200);
      write(GFN);
      write(GFN + 1);
      long table = table(GFN);
      vm.events.clear();
      long flushes = vm.flushes();

      vm.setFlags(0);

      List<String> expected = new ArrayList<>();
      expected.add(Events.changed(GFN, 2, table, 0x8600000040000bf7L));
      expected.addAll(frozen(GFN, 2));
      expected.add(Events.FLUSH);
      assertThat(vm.takeEvents()).isEqualTo(expected);
      assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
      assertThat(vm.flushes()).isEqualTo(flushes + 1);
      assertThat(vm.view.tables()).isEqualTo(3);
    }

    @Test
    void firstPageWriteProtected_leavesTheHugeLeafSo_untilTheFastPath() {
      splitByLogging(0x200);
      write(GFN + 1);

      vm.setFlags(0);

      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000bf5L);
      write(GFN + 7);
      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000bf7L);
      assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
    }

    @Test
    void firstPresentPage_givesTheBits_alsoOfGfnsThatWereNotMapped() {
      vm.memory.setLevel(HUGE);
      vm.add(MemoryRegion.shared(0, GFN, 0x200, GFN << 12).withFlags(LOG));
      vm.memory.setWritable(false);
      vm.map(GFN + 9, TestVm.READ);
      vm.memory.setWritable(true);
      vm.map(GFN + 10, TestVm.WRITE);

      vm.setFlags(0);

      assertThat(vm.view.directLeafs())
          .containsExactly(new MappedLeaf(GFN, HUGE, GFN, 0x80000000400009f5L));
    }

    @Test
    void agedPage_staysAged() {
      splitByLogging(0x200);
      assertThat(vm.mmu.notifier().clearYoung(GFN << 12, (GFN + 1) << 12)).isTrue();

      vm.setFlags(0);

      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000af5L);
    }

    @Test
    void accessTrackedPage_ofAnNxVm_givesAHugeLeafThatNeverRegainsExecute() {
      use(TestVm.nx(KernelGeneration.LINUX_7_1, SpteFormat.eptWithoutAccessDirty()));
      splitByLogging(0x200);
      assertThat(vm.mmu.notifier().clearYoung(GFN << 12, (GFN + 1) << 12)).isTrue();
      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8750000040000a70L);

      vm.setFlags(0);

      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8650000040000af0L);
      assertThat(vm.fault(GFN, TestVm.READ)).isEqualTo(FIXED);
      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8610000040000bf1L);
    }

    @Test
    void emptyTable_stays_sinceThereIsNothingToTakeThePageFrom() {
      splitByLogging(0x200);
      vm.mmu.notifier().invalidateRange(GFN << 12, (GFN + 0x200) << 12);
      TestVm.State before = vm.state();
      vm.events.clear();

      vm.setFlags(0);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.takeEvents()).isEmpty();
    }

    @Test
    void wholeGigabyte_isOneLeafAgain_withoutAStopAt2M() {
      vm.addShared(GFN, GIGABYTE.pages());
      vm.memory.setLevel(GIGABYTE);
      vm.map(GFN, TestVm.WRITE);
      vm.setParameter("eager_page_split", "N");
      vm.setFlags(LOG);
      write(GFN + 0x201);
      assertThat(vm.leafCounts()).containsExactly(512L, 511L, 0L);
      vm.events.clear();

      vm.setFlags(0);

      assertThat(vm.view.directLeafs())
          .containsExactly(new MappedLeaf(GFN, GIGABYTE, GFN, 0x8600000040000bf5L));
      List<String> events = vm.takeEvents();
      assertThat(Events.only(events, "kvm_mmu_prepare_zap_page", "flush"))
          .containsExactly(
              Events.zappedPage(GFN, 2), Events.zappedPage(GFN + 0x200, 1), Events.FLUSH);
      assertThat(events).hasSize(1 + 1 + 512 + 1 + 512 + 1);
    }

    @Test
    void lockWaitedFor_flushesWhatIsPending_andGoesOn() {
      splitByLogging(0x400);
      List<Long> seen = new ArrayList<>();
      vm.hooks.onEvent(
          "kvm_mmu_prepare_zap_page", () -> vm.hooks.onYield(() -> seen.add(vm.flushes())));
      long flushes = vm.flushes();

      vm.setFlags(0);

      assertThat(seen).containsExactly(flushes + 1);
      assertThat(vm.flushes()).isEqualTo(flushes + 2);
      assertThat(vm.leafCounts()).containsExactly(0L, 2L, 0L);
      assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_RESCHED)).isEqualTo(1);
    }

    @Test
    void entryZappedByAnother_isNotFlushedFor() {
      splitByLogging(0x200);
      vm.hooks.onExchange(HugePageRecoveryTest.this::zapTable);
      vm.events.clear();

      vm.setFlags(0);

      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
      assertThat(Events.only(vm.takeEvents(), "flush", "kvm_mmu_prepare_zap_page"))
          .containsExactly(Events.zappedPage(GFN, 1));
    }
  }

  /** What another holder of the read lock may do at any time. */
  private void zapTable() {
    TdpIter iter = new TdpIter(vm.mmu, vm.directRoot(), HUGE, GFN, GFN + 1);
    while (iter.level() != HUGE) {
      iter.next();
    }
    assertThat(
            SpteWriter.forMode(vm.mmu, LockMode.SHARED).set(iter, SpteFormat.NONPRESENT).isError())
        .isFalse();
  }

  @Nested
  class Zapped {

    Zapped() {
      use(TestVm.of(KernelGeneration.LINUX_6_12, SpteFormat.ept()));
    }

    @Test
    void table_isFlushedFirstAndThenGone() {
      splitByLogging(0x200);
      write(GFN);
      long table = table(GFN);
      vm.events.clear();

      vm.setFlags(0);

      List<String> expected = new ArrayList<>();
      expected.add(Events.FLUSH);
      expected.add(Events.changed(GFN, 2, table, SpteFormat.NONPRESENT));
      expected.addAll(frozen(GFN, 1));
      assertThat(vm.takeEvents()).isEqualTo(expected);
      assertThat(vm.view.directLeafs()).isEmpty();

      assertThat(vm.fault(GFN + 5, TestVm.READ)).isEqualTo(FIXED);
      assertThat(vm.view.directLeafs())
          .containsExactly(new MappedLeaf(GFN, HUGE, GFN, 0x8600000040000bf7L));
    }

    @Test
    void emptyTable_goesAsWell() {
      splitByLogging(0x200);
      vm.mmu.notifier().invalidateRange(GFN << 12, (GFN + 0x200) << 12);
      assertThat(vm.view.tables()).isEqualTo(4);

      vm.setFlags(0);

      assertThat(vm.view.tables()).isEqualTo(3);
    }

    @Test
    void eachTable_hasItsFlush() {
      splitByLogging(0x600);
      long flushes = vm.flushes();

      vm.setFlags(0);

      assertThat(vm.flushes()).isEqualTo(flushes + 3);
      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    }

    @Test
    void wholeGigabyte_goesAtOnce() {
      vm.addShared(GFN, GIGABYTE.pages());
      vm.memory.setLevel(GIGABYTE);
      vm.map(GFN, TestVm.WRITE);
      vm.setParameter("eager_page_split", "N");
      vm.setFlags(LOG);
      write(GFN + 0x201);
      vm.events.clear();

      vm.setFlags(0);

      assertThat(Events.only(vm.takeEvents(), "kvm_mmu_prepare_zap_page", "flush"))
          .containsExactly(
              Events.FLUSH, Events.zappedPage(GFN, 2), Events.zappedPage(GFN + 0x200, 1));
      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
      assertThat(vm.view.tables()).isEqualTo(2);
    }

    @Test
    void table_isFrozenWhileTlbsAreFlushed_soThatAFaultRetries() {
      splitByLogging(0x200);
      List<Long> during = new ArrayList<>();
      vm.hooks.onEvent("flush_remote_tlbs", () -> during.add(vm.peek(vm.directRoot(), GFN)));

      vm.setFlags(0);

      assertThat(during).containsExactly(0x80000000000005a0L);
    }

    @Test
    void lockWaitedFor_hasNothingToFlush() {
      splitByLogging(0x400);
      List<Long> seen = new ArrayList<>();
      long flushes = vm.flushes();
      vm.hooks.onYield(() -> seen.add(vm.flushes()));

      vm.setFlags(0);

      assertThat(seen).hasSize(1);
      assertThat(vm.flushes()).isEqualTo(flushes + 2);
      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    }

    @Test
    void entryZappedByAnother_isNotFlushedFor() {
      splitByLogging(0x200);
      long flushes = vm.flushes();
      vm.hooks.onExchange(HugePageRecoveryTest.this::zapTable);

      vm.setFlags(0);

      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
      assertThat(vm.flushes()).isEqualTo(flushes);
    }
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void hostThatMapsSmallPages_keepsTheTable(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.npt()));
    splitByLogging(0x200);
    vm.memory.setLevel(SMALL);
    TestVm.State before = vm.state();

    vm.setFlags(0);

    assertThat(vm.state()).isEqualTo(before);
    assertThat(vm.takeEvents()).isEmpty();
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x40000e65L);
    write(GFN);
    assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x40000e67L);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void tableThatSticksOutOfTheSlot_stays(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.memory.setLevel(HUGE);
    vm.add(MemoryRegion.shared(0, GFN + 0x100, 0x400, (GFN + 0x100) << 12).withFlags(LOG));
    vm.add(MemoryRegion.shared(1, GFN, 0x100, GFN << 12));
    for (long gfn : new long[] {GFN, GFN + 0x100, GFN + 0x200, GFN + 0x400}) {
      vm.map(gfn, TestVm.WRITE);
    }

    vm.setFlags(0);

    List<MappedLeaf> expected = new ArrayList<>();
    for (long gfn : new long[] {GFN, GFN + 0x100, GFN + 0x400}) {
      expected.add(new MappedLeaf(gfn, SMALL, gfn, 0x8600000000000b77L | gfn << 12));
    }
    if (generation == KernelGeneration.LINUX_7_1) {
      expected.add(2, new MappedLeaf(GFN + 0x200, HUGE, GFN + 0x200, 0x8600000040200bf7L));
    }
    assertThat(vm.view.directLeafs()).isEqualTo(expected);
  }

  /** The slot knows nothing of the start of the 1G entry that it lies in. */
  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void slotInTheMiddleOfAGigabyte_comesBackIn2MPages(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.memory.setLevel(HUGE);
    vm.add(MemoryRegion.shared(0, GFN + 0x200, 0x200, (GFN + 0x200) << 12).withFlags(LOG));
    vm.map(GFN + 0x200, TestVm.WRITE);

    vm.setFlags(0);

    boolean inPlace = generation == KernelGeneration.LINUX_7_1;
    assertThat(vm.leafCounts()).containsExactly(0L, inPlace ? 1L : 0L, 0L);
    assertThat(vm.view.tables()).isEqualTo(3);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void nothingMapped_isNotFlushed(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    vm.addShared(GFN, 0x200);
    vm.setFlags(LOG);
    vm.events.clear();

    vm.setFlags(0);

    assertThat(vm.takeEvents()).isEmpty();
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void rootReplacedDuringAYield_endsTheWalkOnWhatIsGone(KernelGeneration generation) {
    use(TestVm.of(generation, SpteFormat.ept()));
    splitByLogging(0x600);
    vm.hooks.onYield(() -> vm.mmu.zapAllFast());

    vm.setFlags(0);

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.vcpu.load().isError()).isFalse();
    vm.map(GFN, TestVm.WRITE);
    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
  }

  /** Race R9: the fault's entry is frozen with its table before the fault can write it. */
  @Test
  void faultInATableThatIsTornDown_retriesAndMapsNothing() {
    vm.addShared(GFN, 0x200);
    vm.map(GFN, TestVm.READ);
    vm.hooks.onExchange(this::zapTable);

    assertThat(vm.fault(GFN + 1, TestVm.WRITE)).isEqualTo(FaultOutcome.of(RetPf.RETRY));

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    vm.map(GFN + 1, TestVm.WRITE);
  }

  @Test
  void privatePage_isNeverMerged() {
    use(TestVm.swProtected());
    Memslot slot = vm.addShared(GFN, 0x200);
    vm.memory.setLevel(HUGE);
    MappingLevels levels = new MappingLevels(vm.mmu);
    assertThat(levels.maxLevel(slot, GFN)).isEqualTo(HUGE);

    vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 0x200), true);

    assertThat(levels.maxLevel(slot, GFN)).isEqualTo(SMALL);
  }
}
