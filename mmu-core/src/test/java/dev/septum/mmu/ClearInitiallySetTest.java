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
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** CLEAR with INITIALLY_SET: it finds the huge pages that enabling left alone. */
class ClearInitiallySetTest {

  private static final long GFN = 0x40000;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final long WRITE_PRESENT = TestVm.WRITE | PageFault.PRESENT;
  private static final FaultOutcome FIXED = FaultOutcome.of(RetPf.FIXED);
  private static final long HUGE_LEAF = 0x8600000040000bf7L;
  private static final long LEAF = 0x8600000040000b77L;
  private static final long PROTECTED = 0x8600000040000b75L;

  private TestVm vm = TestVm.ordinary();

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

  @BeforeEach
  void protectManually() {
    assertThat(vm.mmu.dirtyTracking().enableManualProtect(3)).isEqualTo(Errno.OK);
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
  @MethodSource("huge")
  void withoutEagerSplit_protectsTheHugeLeaf_andAWriteTakesTheSlowPath(
      KernelGeneration generation, SpteFormat format, long huge, long tracked, long child) {
    use(TestVm.of(generation, format));
    protectManually();
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
   * The last cleared page is the first of the next huge page: the kernel leaves that one writable,
   * and a later write goes unrecorded.
   */
  @ParameterizedTest
  @EnumSource(DirtyLogBoundary.class)
  void lastBitOnTheNextHugePage_isMissedByRoundingUp(DirtyLogBoundary boundary) {
    use(TestVm.of(VmType.DEFAULT, MmuParams.of(SpteFormat.ept()).withBoundary(boundary)));
    protectManually();
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
      assertThat(vm.peek(vm.directRoot(), GFN + gfn)).isEqualTo(0x8200000040000bf5L + (gfn << 12));
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
