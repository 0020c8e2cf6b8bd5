package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The ioctls of the dirty bitmap and of the dirty rings. */
class DirtyTrackingTest {

  private static final long GFN = 0x40000;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final long WRITE_PRESENT = TestVm.WRITE | PageFault.PRESENT;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
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

  private Errno clear(long firstPage, long pages, long... words) {
    return vm.mmu
        .dirtyTracking()
        .clearDirtyLog(0, firstPage, pages, ImmutableLongArray.copyOf(words));
  }

  private DirtyTracking.DirtyLog get(int slot) {
    return vm.mmu.dirtyTracking().getDirtyLog(slot);
  }

  private void logFrom(long gfn, long pages) {
    vm.add(MemoryRegion.shared(0, gfn, pages, gfn << 12).withFlags(LOG));
  }

  private void manualProtect(int caps) {
    assertThat(vm.mmu.dirtyTracking().enableManualProtect(caps)).isEqualTo(Errno.OK);
  }

  private static DirtyTracking.DirtyLog log(long... words) {
    return new DirtyTracking.DirtyLog(Errno.OK, ImmutableLongArray.copyOf(words));
  }

  private static DirtyTracking.DirtyLog failed(Errno error) {
    return new DirtyTracking.DirtyLog(error, ImmutableLongArray.of());
  }

  private void bugTheVm() {
    assertThat(vm.bugOn(true, "for this test")).isTrue();
    vm.assertBugged("for this test");
  }

  @Nested
  class Get {

    @Test
    void withoutManualProtection_clearsProtectsAgainAndFlushesOnce() {
      logFrom(GFN, 130);
      for (long page : new long[] {0, 63, 129}) {
        vm.map(GFN + page, TestVm.WRITE);
      }
      vm.events.clear();

      assertThat(get(0)).isEqualTo(log(Long.MIN_VALUE | 1, 0, 2));

      assertThat(vm.takeEvents())
          .containsExactly(
              Events.changed(GFN, 1, LEAF, PROTECTED),
              Events.changed(GFN + 63, 1, LEAF + (63L << 12), PROTECTED + (63L << 12)),
              Events.changed(GFN + 129, 1, LEAF + (129L << 12), PROTECTED + (129L << 12)),
              Events.FLUSH);
      assertThat(vm.dirty()).isEmpty();
      assertThat(get(0)).isEqualTo(log(0, 0, 0));
      assertThat(vm.flushes()).isEqualTo(1);
    }

    @Test
    void aWriteAfterIt_isFixedFastAndDirtyAgain() {
      logFrom(GFN, 64);
      vm.map(GFN + 5, TestVm.WRITE);
      assertThat(get(0)).isEqualTo(log(0x20));

      assertThat(vm.fault(GFN + 5, WRITE_PRESENT)).isEqualTo(FIXED);

      assertThat(get(0)).isEqualTo(log(0x20));
    }

    /** A bit without a writable leaf costs no event, but the flush all the same. */
    @Test
    void dirtyPageThatIsNotMappedAnyMore_isReportedAndFlushedFor() {
      logFrom(GFN, 64);
      vm.map(GFN + 5, TestVm.WRITE);
      vm.mmu.notifier().invalidateRange((GFN + 5) << 12, (GFN + 6) << 12);
      vm.events.clear();

      assertThat(get(0)).isEqualTo(log(0x20));

      assertThat(vm.takeEvents()).containsExactly(Events.FLUSH);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void withManualProtection_readsAndChangesNothing(int caps) {
      manualProtect(caps);
      logFrom(GFN, 70);
      vm.map(GFN + 65, TestVm.WRITE);
      TestVm.State before = vm.state();
      vm.events.clear();

      for (int i = 0; i < 2; i++) {
        assertThat(get(0)).isEqualTo(caps == 1 ? log(0, 2) : log(-1, 0x3f));
      }

      assertThat(vm.takeEvents()).isEmpty();
      assertThat(vm.state()).isEqualTo(before);
    }

    @Test
    void itHoldsMmuLockForWrite_whileItProtects() {
      logFrom(GFN, 1);
      vm.map(GFN, TestVm.WRITE);
      List<Boolean> held = new ArrayList<>();
      vm.hooks.onEvent(
          "kvm_tdp_mmu_spte_changed", () -> held.add(vm.mmuLock().isHeld(LockMode.EXCLUSIVE)));

      get(0);

      assertThat(held).containsExactly(true);
    }

    @Test
    void bitThatAWriterSetsMeanwhile_isNotLost() {
      logFrom(GFN, 64);
      vm.map(GFN, TestVm.WRITE);
      vm.map(GFN + 1, TestVm.WRITE);
      vm.hooks.onExchange(
          () -> {
            // The fast path takes no lock: it may come before the page is protected again.
            vm.poke(GFN + 1, PageLevel.LEVEL_4K, PROTECTED + 0x1000);
            assertThat(vm.fault(GFN + 1, WRITE_PRESENT)).isEqualTo(FIXED);
          });

      assertThat(get(0)).isEqualTo(log(3));

      assertThat(vm.dirty()).containsExactly(1L);
    }

    @Test
    void errors_comeInTheKernelsOrder() {
      vm.add(MemoryRegion.shared(0, GFN, 1, GFN << 12));

      assertThat(get(-1)).isEqualTo(failed(Errno.EINVAL));
      assertThat(get(32764)).isEqualTo(failed(Errno.EINVAL));
      assertThat(get(0x20000)).isEqualTo(failed(Errno.EINVAL));
      assertThat(get(0)).isEqualTo(failed(Errno.ENOENT));
      assertThat(get(1)).isEqualTo(failed(Errno.ENOENT));
      bugTheVm();
      assertThat(get(-1)).isEqualTo(failed(Errno.EIO));
    }
  }

  @Nested
  class Clear {

    @BeforeEach
    void protectManually() {
      manualProtect(1);
    }

    @Test
    void someBits_protectsThosePagesOnly() {
      logFrom(GFN, 128);
      for (long page : new long[] {0, 1, 64, 65}) {
        vm.map(GFN + page, TestVm.WRITE);
      }
      vm.events.clear();

      assertThat(clear(64, 64, 0b110)).isEqualTo(Errno.OK);

      assertThat(vm.takeEvents())
          .containsExactly(
              Events.changed(GFN + 65, 1, LEAF + (65L << 12), PROTECTED + (65L << 12)),
              Events.FLUSH);
      assertThat(vm.dirty()).containsExactly(0L, 1L, 64L);
    }

    @Test
    void nothingThatWasDirty_takesNoFlush() {
      logFrom(GFN, 128);
      vm.map(GFN, TestVm.WRITE);
      TestVm.State before = vm.state();
      vm.events.clear();

      assertThat(clear(0, 128, 2, -1)).isEqualTo(Errno.OK);
      assertThat(clear(0, 0)).isEqualTo(Errno.OK);

      assertThat(vm.takeEvents()).isEmpty();
      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.dirty()).containsExactly(0L);
    }

    @Test
    void partialLastWord_ignoresBitsBeyondTheSlot() {
      logFrom(GFN, 70);
      vm.map(GFN + 69, TestVm.WRITE);
      vm.add(MemoryRegion.shared(1, GFN + 70, 1, (GFN + 70) << 12));
      vm.map(GFN + 70, TestVm.WRITE);

      assertThat(clear(64, 6, -1)).isEqualTo(Errno.OK);

      assertThat(vm.dirty()).isEmpty();
      assertThat(vm.peek(vm.directRoot(), GFN + 69)).isEqualTo(PROTECTED + (69L << 12));
      assertThat(vm.peek(vm.directRoot(), GFN + 70)).isEqualTo(LEAF + (70L << 12));
    }

    @ParameterizedTest
    @CsvSource({
      "1, 64, 2", // not from a word's first page
      "63, 7, 1",
      "0, 63, 1", // neither whole words nor up to the end
      "64, 5, 1",
      "0, 131, 3", // beyond the end
      "192, 0, 0",
      "-64, 64, 1",
      "0, -64, 1",
      "0, 128, 1" // fewer words than pages
    })
    void rangeThatIsNone_isEinvalAndClearsNothing(long first, long pages, int words) {
      logFrom(GFN, 130);
      vm.map(GFN, TestVm.WRITE);

      assertThat(clear(first, pages, LongStream.range(0, words).map(i -> -1).toArray()))
          .isEqualTo(Errno.EINVAL);

      assertThat(vm.dirty()).containsExactly(0L);
    }

    /** A first page that is no word's is found before the missing bitmap, the range after it. */
    @Test
    void errors_comeInTheKernelsOrder() {
      vm.add(MemoryRegion.shared(0, GFN, 1, GFN << 12));
      DirtyTracking tracking = vm.mmu.dirtyTracking();
      ImmutableLongArray one = ImmutableLongArray.of(1);

      assertThat(tracking.clearDirtyLog(-1, 0, 1, one)).isEqualTo(Errno.EINVAL);
      assertThat(tracking.clearDirtyLog(5, 1, 1, one)).isEqualTo(Errno.EINVAL);
      assertThat(tracking.clearDirtyLog(5, 0, 99, one)).isEqualTo(Errno.ENOENT);
      assertThat(tracking.clearDirtyLog(0, 0, 99, one)).isEqualTo(Errno.ENOENT);
      bugTheVm();
      assertThat(tracking.clearDirtyLog(-1, 0, 1, one)).isEqualTo(Errno.EIO);
      assertThat(tracking.enableManualProtect(8)).isEqualTo(Errno.EIO);
      assertThat(tracking.enableRing(1)).isEqualTo(Errno.EIO);
      assertThat(tracking.resetRings()).isEqualTo(-5);
    }
  }

  /** CLEAR finds huge pages that enabling left alone. */
  @Nested
  class ClearInitiallySet {

    @BeforeEach
    void protectManually() {
      manualProtect(3);
    }

    private void mapHuge(int count) {
      vm.addShared(GFN, count * 0x200L);
      vm.memory.setLevel(HUGE);
      for (int i = 0; i < count; i++) {
        vm.map(GFN + i * 0x200L, TestVm.WRITE);
      }
      vm.setFlags(LOG);
      vm.events.clear();
    }

    @Test
    void oneWord_splitsTheHugePageUnderTheWriteLock_thenProtectsItsPages() {
      mapHuge(2);
      List<Boolean> held = new ArrayList<>();
      vm.hooks.onEvent(
          "kvm_mmu_split_huge_page", () -> held.add(vm.mmuLock().isHeld(LockMode.EXCLUSIVE)));

      assertThat(clear(0, 64, 0b101000)).isEqualTo(Errno.OK);

      long table = vm.spte(vm.directRoot(), GFN, HUGE);
      assertThat(vm.takeEvents())
          .containsExactly(
              Events.newPage(GFN, 1),
              Events.changed(GFN, 2, HUGE_LEAF, table),
              Events.split(GFN, HUGE_LEAF, 2, 0),
              Events.changed(GFN + 3, 1, LEAF + 0x3000, PROTECTED + 0x3000),
              Events.changed(GFN + 5, 1, LEAF + 0x5000, PROTECTED + 0x5000),
              Events.FLUSH);
      assertThat(held).containsExactly(true);
      assertThat(vm.leafCounts()).containsExactly(512L, 1L, 0L);
      assertThat(vm.dirty()).hasSize(1022).doesNotContain(3L, 5L);
      assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
    }

    @Test
    void everyWord_splitsOnceAndFlushesOnce() {
      mapHuge(1);

      assertThat(clear(0, 512, -1, -1, -1, -1, -1, -1, -1, -1)).isEqualTo(Errno.OK);

      List<String> events = vm.takeEvents();
      assertThat(Events.only(events, "kvm_mmu_split", "flush"))
          .containsExactly(Events.split(GFN, HUGE_LEAF, 2, 0), Events.FLUSH);
      assertThat(events.subList(3, 515))
          .isEqualTo(Events.changed512(GFN, i -> LEAF + (i << 12), i -> PROTECTED + (i << 12)));
      assertThat(vm.dirty()).isEmpty();
    }

    @Test
    void lockDroppedToSplit_letsAVcpuDirtyAPageOfTheWordAgain() {
      mapHuge(1);
      vm.hooks.onMmuUnlock(
          () -> {
            assertThat(vm.mmuLock().isHeld(LockMode.EXCLUSIVE)).isFalse();
            assertThat(vm.dirty()).doesNotContain(0L).contains(1L);
            vm.mmu.notifier().invalidateRange(GFN << 12, (GFN + 1) << 12);
            vm.map(GFN, TestVm.WRITE);
          });

      assertThat(clear(0, 64, 1)).isEqualTo(Errno.OK);

      // Mapped at 4K meanwhile and marked; the write protection that follows loses no later write.
      assertThat(vm.dirty()).contains(0L);
      assertThat(vm.view.directLeafs())
          .containsExactly(new MappedLeaf(GFN, PageLevel.LEVEL_4K, GFN, PROTECTED));
    }

    @Test
    void noMemory_takesTheWriteRightOfTheHugeLeafForGood() {
      mapHuge(1);
      vm.pages().faults().failNext(MmuPage.HEADER_SLAB, 1);

      assertThat(clear(0, 64, 2)).isEqualTo(Errno.OK);

      assertThat(vm.takeEvents())
          .containsExactly(
              Events.split(GFN, HUGE_LEAF, 2, -12),
              Events.changed(GFN, 2, HUGE_LEAF, 0x8200000040000bf5L),
              Events.FLUSH);
      assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
    }

    /** Rule 8 of the recordings: W and MMU_WRITABLE are gone, so the slow path splits. */
    @ParameterizedTest
    @MethodSource("dev.septum.mmu.DirtyTrackingTest#huge")
    void withoutEagerSplit_protectsTheHugeLeaf_andAWriteTakesTheSlowPath(
        KernelGeneration generation, SpteFormat format, long huge, long tracked, long child) {
      use(TestVm.of(generation, format));
      manualProtect(3);
      vm.setParameter("eager_page_split", "N");
      mapHuge(1);

      assertThat(clear(0, 64, 0b10)).isEqualTo(Errno.OK);

      assertThat(vm.takeEvents())
          .containsExactly(Events.changed(GFN, 2, huge, tracked), Events.FLUSH);
      assertThat(vm.fault(GFN + 1, WRITE_PRESENT)).isEqualTo(FIXED);
      assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
      assertThat(vm.peek(vm.directRoot(), GFN + 2)).isEqualTo(child + 0x2000);
      assertThat(vm.dirty()).hasSize(512);
      vm.events.clear();

      assertThat(vm.fault(GFN + 2, WRITE_PRESENT)).isEqualTo(FIXED);

      assertThat(Events.only(vm.takeEvents(), "fast_page_fault"))
          .singleElement()
          .asString()
          .endsWith("spurious 0 fixed 0");
    }

    /**
     * The last cleared page is the first of the next huge page: the kernel leaves that one
     * writable, and a later write goes unrecorded.
     */
    @ParameterizedTest
    @EnumSource(DirtyLogBoundary.class)
    void lastBitOnTheNextHugePage_isMissedByRoundingUp(DirtyLogBoundary boundary) {
      use(TestVm.of(VmType.DEFAULT, MmuParams.of(SpteFormat.ept()).withBoundary(boundary)));
      manualProtect(3);
      vm.setParameter("eager_page_split", "N");
      vm.addShared(GFN + 0x10, 0x5f0);
      vm.memory.setLevel(HUGE);
      vm.map(GFN + 0x200, TestVm.WRITE);
      vm.map(GFN + 0x400, TestVm.WRITE);
      vm.setFlags(LOG);
      // Pages 0x3c0 to 0x3ff of the slot are gfns 0x3d0 to 0x40f.
      long next = HUGE_LEAF + (0x400L << 12);

      assertThat(clear(0x3c0, 64, 0x1ffffffffffffL)).isEqualTo(Errno.OK);

      boolean missed = boundary == DirtyLogBoundary.ROUNDED_UP;
      assertThat(vm.peek(vm.directRoot(), GFN + 0x200))
          .isEqualTo(0x8200000040000bf5L + (0x200L << 12));
      assertThat(vm.peek(vm.directRoot(), GFN + 0x400))
          .isEqualTo(missed ? next : 0x8200000040000bf5L + (0x400L << 12));
      assertThat(vm.mmu.isAccessible(vm.vcpu, (GFN + 0x400) << 12, TestVm.WRITE)).isEqualTo(missed);
      assertThat(vm.dirty()).doesNotContain(0x3f0L);
    }

    @Test
    void wordAcrossTwoHugePages_protectsBoth() {
      vm.setParameter("eager_page_split", "N");
      vm.addShared(GFN + 0x10, 0x5f0);
      vm.memory.setLevel(HUGE);
      vm.map(GFN + 0x200, TestVm.WRITE);
      vm.map(GFN + 0x400, TestVm.WRITE);
      vm.setFlags(LOG);

      assertThat(clear(0x3c0, 64, -1)).isEqualTo(Errno.OK);

      for (long gfn : new long[] {0x200, 0x400}) {
        assertThat(vm.peek(vm.directRoot(), GFN + gfn))
            .isEqualTo(0x8200000040000bf5L + (gfn << 12));
      }
    }

    @Test
    void gigabyte_isSplitTo2MAndTheTouched2MTo4K() {
      vm.addShared(GFN, PageLevel.LEVEL_1G.pages());
      vm.memory.setLevel(PageLevel.LEVEL_1G);
      vm.map(GFN, TestVm.WRITE);
      vm.setFlags(LOG);

      assertThat(clear(0x200, 64, 1)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(512L, 511L, 0L);
      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(HUGE_LEAF);
      assertThat(vm.peek(vm.directRoot(), GFN + 0x200)).isEqualTo(PROTECTED + (0x200L << 12));
      assertThat(vm.peek(vm.directRoot(), GFN + 0x201)).isEqualTo(LEAF + (0x201L << 12));
    }
  }

  static Stream<Arguments> huge() {
    return Stream.of(KernelGeneration.values())
        .flatMap(
            generation ->
                Stream.of(
                    arguments(
                        generation,
                        SpteFormat.ept(),
                        HUGE_LEAF,
                        0x8200000040000bf5L,
                        0x8200000040000b75L),
                    arguments(
                        generation, SpteFormat.npt(), 0x40000ee7L, 0x40000ae5L, 0x40000a65L)));
  }

  @Nested
  class Capabilities {

    @ParameterizedTest
    @CsvSource({"0, OK", "1, OK", "2, EINVAL", "3, OK", "4, EINVAL", "5, EINVAL", "-1, EINVAL"})
    void manualProtect_initiallySetOnlyWithIt(int caps, Errno expected) {
      assertThat(vm.mmu.dirtyTracking().enableManualProtect(caps)).isEqualTo(expected);

      assertThat(vm.mmu.dirtyTracking().isInitiallySet()).isEqualTo(caps == 3);
    }

    @ParameterizedTest
    @CsvSource({
      "0, EINVAL",
      "2048, EINVAL",
      "4095, EINVAL",
      "6144, EINVAL",
      "-4096, EINVAL",
      "2097152, E2BIG",
      "4096, OK",
      "1048576, OK"
    })
    void ring_hasASizeThatIsPossible(long bytes, Errno expected) {
      vm.vcpu.destroy();

      assertThat(vm.mmu.dirtyTracking().enableRing(bytes)).isEqualTo(expected);
    }

    @Test
    void ring_onceAndBeforeTheFirstVcpu() {
      assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.EINVAL);
      vm.vcpu.destroy();
      assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.OK);
      assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.EINVAL);
      assertThat(vm.mmu.dirtyTracking().enableRing(1 << 21)).isEqualTo(Errno.E2BIG);
    }

    @Test
    void withoutARing_thereIsNothingToReset() {
      assertThat(vm.vcpu.dirtyRing()).isNull();
      assertThat(vm.mmu.dirtyTracking().resetRings()).isEqualTo(-22);
    }
  }

  @Nested
  class Rings {

    private VcpuMmu vcpu = withRing();

    private VcpuMmu withRing() {
      vm.vcpu.destroy();
      assertThat(vm.mmu.dirtyTracking().enableRing(4096)).isEqualTo(Errno.OK);
      VcpuMmu added = vm.newVcpu();
      vm.events.clear();
      return added;
    }

    private DirtyRing ring(VcpuMmu of) {
      DirtyRing ring = of.dirtyRing();
      assertThat(ring).isNotNull();
      return ring;
    }

    private void write(VcpuMmu by, long gfn, long error) {
      assertThat(vm.mmu.handleFault(by, gfn << 12, error)).isEqualTo(FIXED);
    }

    @Test
    void bitmapIoctls_areEnxioWhateverElseIsWrong() {
      logFrom(GFN, 1);

      assertThat(vm.slot(0).dirtyBitmap()).isNull();
      assertThat(get(-1)).isEqualTo(failed(Errno.ENXIO));
      assertThat(get(0)).isEqualTo(failed(Errno.ENXIO));
      assertThat(clear(1, 1)).isEqualTo(Errno.ENXIO);
    }

    @Test
    void eachPage_isPushedWhenItBecomesWritable() {
      logFrom(GFN, 0x200);
      vm.events.clear();

      write(vcpu, GFN + 2, TestVm.WRITE);
      write(vcpu, GFN + 3, TestVm.READ);

      assertThat(Events.only(vm.takeEvents(), "kvm_dirty_ring"))
          .containsExactly(
              "kvm_dirty_ring_push: ring 1: dirty 0x1 reset 0x0 slot 0 offset 0x2 (used 1)",
              "kvm_dirty_ring_push: ring 1: dirty 0x2 reset 0x0 slot 0 offset 0x3 (used 2)");
      assertThat(ring(vcpu).collect())
          .containsExactly(new DirtyRing.Entry(0, 2), new DirtyRing.Entry(0, 3));
    }

    @Test
    void reset_protectsWhatWasCollectedAndFlushesOnce() {
      logFrom(GFN, 0x200);
      for (long page : new long[] {5, 4, 100, 6}) {
        write(vcpu, GFN + page, TestVm.WRITE);
      }
      assertThat(ring(vcpu).collect()).hasSize(4);
      write(vcpu, GFN + 7, TestVm.WRITE);
      vm.events.clear();

      assertThat(vm.mmu.dirtyTracking().resetRings()).isEqualTo(4);

      // 5 and 4 are one run, whose pages are protected from the lowest up.
      List<String> expected = new ArrayList<>();
      for (long page : new long[] {4, 5, 100, 6}) {
        expected.add(Events.changed(GFN + page, 1, LEAF + (page << 12), PROTECTED + (page << 12)));
      }
      expected.add("kvm_dirty_ring_reset: ring 1: dirty 0x5 reset 0x4 (used 1)");
      expected.add(Events.FLUSH);
      assertThat(vm.takeEvents()).isEqualTo(expected);
      assertThat(vm.peek(vm.directRoot(), GFN + 7)).isEqualTo(LEAF + 0x7000);
    }

    @Test
    void reset_nothingCollected_tracesEachRingAndDoesNotFlush() {
      VcpuMmu second = vm.newVcpu();
      logFrom(GFN, 1);
      write(second, GFN, TestVm.WRITE);
      vm.events.clear();

      assertThat(vm.mmu.dirtyTracking().resetRings()).isZero();

      assertThat(vm.takeEvents())
          .containsExactly(
              "kvm_dirty_ring_reset: ring 1: dirty 0x0 reset 0x0 (used 0)",
              "kvm_dirty_ring_reset: ring 2: dirty 0x1 reset 0x0 (used 1)");
    }

    @Test
    void reset_ofTwoRings_countsBothAndFlushesOnce() {
      VcpuMmu second = vm.newVcpu();
      logFrom(GFN, 2);
      write(vcpu, GFN, TestVm.WRITE);
      write(second, GFN + 1, TestVm.WRITE);
      assertThat(ring(vcpu).collect()).hasSize(1);
      assertThat(ring(second).collect()).hasSize(1);

      assertThat(vm.mmu.dirtyTracking().resetRings()).isEqualTo(2);

      assertThat(vm.flushes()).isEqualTo(1);
      assertThat(vm.view.directLeafs()).noneMatch(l -> vm.mmu.format().isWritable(l.spte()));
    }

    @Test
    void reset_ofASlotThatIsGoneOrSmaller_takesTheEntriesBackAndNoMore() {
      logFrom(GFN, 0x200);
      write(vcpu, GFN + 9, TestVm.WRITE);
      assertThat(ring(vcpu).collect()).hasSize(1);
      assertThat(vm.mmu.memory().setRegion(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
      logFrom(GFN, 9);
      assertThat(vcpu.load()).isEqualTo(Errno.OK);
      write(vcpu, GFN + 8, TestVm.WRITE);
      vm.events.clear();

      assertThat(vm.mmu.dirtyTracking().resetRings()).isEqualTo(1);

      assertThat(vm.takeEvents())
          .containsExactly(
              "kvm_dirty_ring_reset: ring 1: dirty 0x2 reset 0x1 (used 1)", Events.FLUSH);
      assertThat(vm.peek(vm.directRoot(), GFN + 8)).isEqualTo(LEAF + 0x8000);
    }

    @Test
    void enabling_protectsAsWithABitmap_andAFastFaultPushes() {
      vm.addShared(GFN, 1);
      write(vcpu, GFN, TestVm.WRITE);
      vm.setFlags(LOG);
      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(PROTECTED);
      vm.events.clear();

      write(vcpu, GFN, WRITE_PRESENT);

      assertThat(vm.takeEvents())
          .first()
          .isEqualTo("kvm_dirty_ring_push: ring 1: dirty 0x1 reset 0x0 slot 0 offset 0x0 (used 1)");
    }
  }
}
