package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.doReturn;
import static org.mockito.Mockito.times;
import static org.mockito.Mockito.verify;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class HugePageSplitterTest {

  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final PageLevel GIGABYTE = PageLevel.LEVEL_1G;
  private static final long GIGABYTE_PAGES = 0x40000;

  static Stream<Arguments> modesAndPlaces() {
    return Stream.of(LockMode.values())
        .flatMap(
            mode ->
                Stream.of(
                        MmuPage.HEADER_SLAB,
                        PageOwner.MMU_PAGE_TABLE.tag(),
                        PageOwner.EXTERNAL_PAGE_TABLE.tag())
                    .map(place -> arguments(mode, place)));
  }

  static Stream<Arguments> boundaries() {
    return Stream.of(LockMode.values())
        .flatMap(
            mode ->
                Stream.of(
                    arguments(mode, 0x200, 0x400, List.of()),
                    arguments(mode, 0x201, 0x202, List.of(0x200L)),
                    arguments(mode, 0x210, 0x220, List.of(0x200L)),
                    arguments(mode, 0x200, 0x300, List.of(0x200L)),
                    arguments(mode, 0x300, 0x400, List.of(0x200L)),
                    arguments(mode, 0x1ff, 0x401, List.of(0L, 0x400L)),
                    arguments(mode, 0, 0x401, List.of(0x400L)),
                    arguments(mode, 0, 0x600, List.of()),
                    arguments(mode, 0x300, 0x300, List.of()),
                    arguments(mode, 0x1000, 0x1001, List.of())));
  }

  /** A TD with 2M leafs at 0, 0x200 and 0x400. */
  @Nested
  class Mirror {

    private final TestVm vm = TestVm.td();
    private final AtomicInteger cached = new AtomicInteger();

    Mirror() {
      vm.addPrivate(0, 0x600, HUGE);
      for (long gfn = 0; gfn < 0x600; gfn += 0x200) {
        vm.map(gfn, TestVm.PRIVATE_WRITE);
      }
      assertThat(vm.leafCounts()).containsExactly(0L, 3L, 0L);
      vm.events.clear();
    }

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    @ParameterizedTest
    @MethodSource("dev.septum.mmu.HugePageSplitterTest#boundaries")
    void crossing_splitsJustTheLeafsThatStickOut(
        LockMode mode, long start, long end, List<Long> expected) {
      List<MappedLeaf> before = vm.view.mirrorLeafs();

      assertThat(split(start, end, mode)).isEqualTo(Errno.OK);

      List<MappedLeaf> after = new ArrayList<>();
      for (MappedLeaf leaf : before) {
        if (expected.contains(leaf.gfn())) {
          for (int i = 0; i < 512; i++) {
            long spte = (leaf.spte() & ~0x80L) + ((long) i << 12);
            after.add(new MappedLeaf(leaf.gfn() + i, SMALL, leaf.pfn() + i, spte));
          }
        } else {
          after.add(leaf);
        }
      }
      assertThat(vm.view.mirrorLeafs()).isEqualTo(after);
      assertThat(vm.leafCounts()).containsExactly(512L * expected.size(), 3L - expected.size(), 0L);
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(expected.size());
      assertThat(counter(MmuCounter.LOCK_DROPS_TOPUP)).isZero();
      assertThat(counter(MmuCounter.MIRROR_SPLITS)).isEqualTo(expected.size());
      assertThat(vm.mmu.splits().get(SplitCause.PUNCH_HOLE)).isEqualTo(expected.size());
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void crossing_alreadySplit_touchesNothing(LockMode mode) {
      assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.OK);
      TestVm.State before = vm.state();
      vm.events.clear();

      assertThat(split(0x210, 0x220, mode)).isEqualTo(Errno.OK);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.takeEvents()).isEmpty();
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_freshTables_stayCompact(LockMode mode) {
      assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.OK);

      MmuPage table = vm.at(vm.mirrorRoot(), 0x200, SMALL, LockMode.SHARED, TdpIter::table);
      assertThat(table.spt().isUniform()).isTrue();
      assertThat(table.gfn()).isEqualTo(0x200);
      assertThat(vm.pages().ownerOf(table.externalSpt())).isEqualTo(PageOwner.SEPT_PAGE);
    }

    @ParameterizedTest
    @MethodSource("dev.septum.mmu.HugePageSplitterTest#modesAndPlaces")
    void split_anAllocationFails_changesNothing(LockMode mode, String place) {
      TestVm.State before = vm.state();
      long huge = vm.spte(vm.mirrorRoot(), 0x200, HUGE);
      vm.pages().faults().failNext(place, 1);

      assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.ENOMEM);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.takeEvents())
          .containsExactly(
              "kvm_mmu_split_huge_page: gfn 200 spte %x level 2 errno -12".formatted(huge));
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
      assertThat(counter(MmuCounter.MIRROR_SPLITS)).isZero();
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_theSecondFails_leavesTheFirstSplit(LockMode mode) {
      vm.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 2);

      assertThat(split(0x1ff, 0x401, mode)).isEqualTo(Errno.ENOMEM);

      assertThat(vm.leafCounts()).containsExactly(512L, 2L, 0L);
      assertThat(vm.peek(vm.mirrorRoot(), 0x400) & 0x80).isEqualTo(0x80);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_topsTheCacheUpOutsideTheLock(LockMode mode) {
      useSplitCache();

      assertThat(split(0x1ff, 0x401, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(1024L, 1L, 0L);
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
      assertThat(counter(MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
      assertThat(cached).hasValue(0);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_topupFails_freesTheSpareTable(LockMode mode) {
      useSplitCache();
      TestVm.State before = vm.state();
      doReturn(Errno.ENOMEM).when(vm.ops).topupExternalPerVmSplitCache(any(), any());

      assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.ENOMEM);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.takeEvents())
          .singleElement()
          .asString()
          .matches("kvm_mmu_split_huge_page: gfn 200 spte [0-9a-f]+ level 2 errno -12");
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
      assertThat(counter(MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(1);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_leafVanishesDuringTheTopup_isSkipped(LockMode mode) {
      useSplitCache();
      doAnswer(
              call -> {
                vm.mmu.withMmuLock(
                    () -> vm.mmu.unmap(0, new GfnRange(0x200, 0x400), EnumSet.of(GfnKind.PRIVATE)));
                cached.addAndGet(2);
                return Errno.OK;
              })
          .when(vm.ops)
          .topupExternalPerVmSplitCache(any(), any());
      assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(0L, 2L, 0L);
      assertThat(vm.pages().census())
          .containsEntry(PageOwner.MMU_PAGE_TABLE, vm.view.tables() + vm.view.cachedTables());
      assertThat(counter(MmuCounter.MIRROR_SPLITS)).isZero();
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_somebodyElseSplitsDuringTheTopup_isLeftToThem(LockMode mode) {
      useSplitCache();
      doAnswer(
              call -> {
                cached.addAndGet(2);
                assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.OK);
                return Errno.OK;
              })
          .when(vm.ops)
          .topupExternalPerVmSplitCache(any(), any());

      assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(512L, 2L, 0L);
      assertThat(counter(MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_cacheWasDrainedMeanwhile_topsUpAgain(LockMode mode) {
      useSplitCache();
      AtomicInteger calls = new AtomicInteger();
      doAnswer(
              call -> {
                if (calls.getAndIncrement() == 0) {
                  cached.set(0);
                  return Errno.EAGAIN;
                }
                cached.addAndGet(-2);
                return call.callRealMethod();
              })
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

      assertThat(split(0x201, 0x202, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(512L, 2L, 0L);
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
      assertThat(counter(MmuCounter.LOCK_DROPS_TOPUP)).isEqualTo(2);
      assertThat(counter(MmuCounter.SPLIT_RETRIES)).isEqualTo(1);
    }

    @ParameterizedTest
    @EnumSource(
        value = Errno.class,
        names = {"EBUSY", "EIO", "EOPNOTSUPP", "ENOMEM"})
    void split_opFails_returnsItsErrorAfterOneAttempt(Errno errno) {
      for (LockMode mode : LockMode.values()) {
        TestVm.State before = vm.state();
        vm.events.clear();
        doReturn(errno)
            .when(vm.ops)
            .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

        assertThat(split(0x201, 0x202, mode)).isEqualTo(errno);

        assertThat(vm.state()).isEqualTo(before);
        assertThat(vm.takeEvents().get(1)).endsWith("level 2 errno " + errno.code());
      }
      verify(vm.ops, times(2))
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());
      assertThat(counter(MmuCounter.SPLIT_RETRIES)).isZero();
    }

    /** Another thread freezes the entry of the leaf at 0x200, after the walk has read it. */
    private MmuPage freezeAfterTheRead() {
      MmuPage table = vm.at(vm.mirrorRoot(), 0x200, HUGE, LockMode.SHARED, TdpIter::table);
      doAnswer(
              call -> {
                table.spt().set(1, SpteFormat.FROZEN);
                return false;
              })
          .doReturn(false)
          .when(vm.ops)
          .needTopupExternalPerVmSplitCache(any(), any());
      vm.events.clear();
      return table;
    }

    @Test
    void underTheWriteLock_anEntryFrozenBetweenReadAndExchange_isJudgedAgainAndSkipped() {
      long huge = vm.spte(vm.mirrorRoot(), 0x200, HUGE);
      MmuPage table = freezeAfterTheRead();

      assertThat(split(0x201, 0x202, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);

      assertThat(table.spt().get(1)).isEqualTo(SpteFormat.FROZEN);
      assertThat(counter(MmuCounter.SPLIT_RETRIES)).isEqualTo(1);
      assertThat(vm.takeEvents().get(1))
          .isEqualTo("kvm_mmu_split_huge_page: gfn 200 spte %x level 2 errno -16".formatted(huge));
      table.spt().set(1, huge);
    }

    @Test
    void underTheReadLock_anEntryFrozenBetweenReadAndExchange_isWaitedForAndSplit() {
      long huge = vm.spte(vm.mirrorRoot(), 0x200, HUGE);
      MmuPage table = freezeAfterTheRead();
      // The allocation drops the lock first; the next drop is the wait, in which the other gives
      // up.
      vm.hooks.onMmuUnlock(() -> vm.hooks.onMmuUnlock(() -> table.spt().set(1, huge)));

      assertThat(split(0x201, 0x202, LockMode.SHARED)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(512L, 2L, 0L);
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
      // One for the exchange that found it frozen, one for the wait.
      assertThat(counter(MmuCounter.SPLIT_RETRIES)).isEqualTo(2);
    }

    @Test
    void underTheReadLock_aFrozenLeafThatBecomesATable_isWaitedForAndLeftAlone() {
      MmuPage table = freezeAfterTheRead();
      long huge = vm.spte(vm.mirrorRoot(), 0x200, HUGE);
      vm.hooks.onMmuUnlock(
          () ->
              vm.hooks.onMmuUnlock(
                  () -> {
                    table.spt().set(1, huge);
                    assertThat(split(0x201, 0x202, LockMode.SHARED)).isEqualTo(Errno.OK);
                  }));

      assertThat(split(0x210, 0x211, LockMode.SHARED)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(512L, 2L, 0L);
      assertThat(counter(MmuCounter.MIRROR_SPLITS)).isEqualTo(1);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void splitHugePages_splitsPrivateLeafsToTheLevelAskedFor(LockMode mode) {
      assertThat(eager(0x200, 0x600, HUGE, mode)).isEqualTo(Errno.OK);
      assertThat(vm.leafCounts()).containsExactly(0L, 3L, 0L);

      assertThat(eager(0x200, 0x600, SMALL, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(1024L, 1L, 0L);
      assertThat(vm.mmu.splits().get(SplitCause.EAGER)).isEqualTo(2);
      assertThat(vm.view.mirrorLeafs().get(0).level()).isEqualTo(HUGE);
    }

    @Test
    void splitHugePages_stopsAtTheFirstError_andLeavesWhatIsSplit() {
      doAnswer(call -> call.callRealMethod())
          .doReturn(Errno.EBUSY)
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

      assertThat(eager(0, 0x600, SMALL, LockMode.SHARED)).isEqualTo(Errno.EBUSY);

      assertThat(vm.leafCounts()).containsExactly(512L, 2L, 0L);
    }

    private Errno eager(long start, long end, PageLevel target, LockMode mode) {
      vm.mmuLock().lock(mode);
      try {
        return vm.mmu.splitHugePages(new GfnRange(start, end), target, mode);
      } finally {
        vm.mmuLock().unlock(mode);
      }
    }

    private Errno split(long start, long end, LockMode mode) {
      vm.mmuLock().lock(mode);
      try {
        return vm.mmu.splitCrossBoundaryLeafs(
            new GfnRange(start, end), mode, SplitCause.PUNCH_HOLE);
      } finally {
        vm.mmuLock().unlock(mode);
      }
    }

    private long counter(MmuCounter counter) {
      return vm.mmu.counters().get(counter);
    }

    /** Has the backend keep two pages for each split in a cache that starts empty. */
    private void useSplitCache() {
      doAnswer(call -> cached.get() < 2)
          .when(vm.ops)
          .needTopupExternalPerVmSplitCache(any(), any());
      doAnswer(
              call -> {
                vm.kernel().locks().assertNoneHeld("a topup");
                cached.addAndGet(2);
                return Errno.OK;
              })
          .when(vm.ops)
          .topupExternalPerVmSplitCache(any(), any());
      doAnswer(
              call -> {
                cached.addAndGet(-2);
                return call.callRealMethod();
              })
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());
    }
  }

  @Nested
  class Gigabyte {

    private static final long GFN = GIGABYTE_PAGES;

    private TestVm vm = TestVm.ordinary();

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void oneGfn_splitsAlongThePathOnly(LockMode mode) {
      map1G();

      assertThat(split(GfnRange.ofPages(GFN + 0x201, 1), SMALL, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(512L, 511L, 0L);
      assertThat(vm.peek(vm.directRoot(), GFN)).isEqualTo(0x8600000040000bf7L);
      assertThat(vm.peek(vm.directRoot(), GFN + 0x201)).isEqualTo(0x8600000040201b77L);
      assertThat(vm.peek(vm.directRoot(), GFN + 0x3fe00)).isEqualTo(0x860000007fe00bf7L);
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(2);
      assertThat(counter(MmuCounter.DIRECT_SPLITS)).isEqualTo(2);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void to2M_stopsThere(LockMode mode) {
      map1G();

      assertThat(split(GfnRange.ofPages(GFN, GIGABYTE_PAGES), HUGE, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(0L, 512L, 0L);
      MmuPage table = vm.at(vm.directRoot(), GFN, HUGE, LockMode.SHARED, TdpIter::table);
      assertThat(table.spt().isUniform()).isTrue();
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(1);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void wholeRange_takesOneLockDropForEachSplit(LockMode mode) {
      map1G();

      assertThat(split(GfnRange.ofPages(GFN, GIGABYTE_PAGES), SMALL, mode)).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(GIGABYTE_PAGES, 0L, 0L);
      assertThat(counter(MmuCounter.LOCK_DROPS_ALLOC)).isEqualTo(513);
      assertThat(counter(MmuCounter.DIRECT_SPLITS)).isEqualTo(513);
      assertThat(vm.view.dump()).contains("leaf L1 gfn=0x40000 n=512 spte=0x8600000040000b77\n");
      MmuPage last = vm.at(vm.directRoot(), GFN + 0x3ffff, SMALL, LockMode.SHARED, TdpIter::table);
      assertThat(last.spt().isUniform()).isTrue();
    }

    @Test
    void wholeRange_splitByTwoThreadsUnderReadLock_isSplitOnce() {
      map1G();
      List<KernelThread> threads = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        threads.add(
            vm.kernel()
                .spawn(
                    "splitter " + i,
                    () ->
                        assertThat(
                                split(
                                    GfnRange.ofPages(GFN, GIGABYTE_PAGES), SMALL, LockMode.SHARED))
                            .isEqualTo(Errno.OK)));
      }
      threads.forEach(KernelThread::join);

      assertThat(vm.leafCounts()).containsExactly(GIGABYTE_PAGES, 0L, 0L);
      assertThat(counter(MmuCounter.DIRECT_SPLITS)).isEqualTo(513);
      assertThat(vm.view.tables()).isEqualTo(2 + 1 + 512);
    }

    @Test
    void directRoot_neverAsksTheBackend() {
      map1G();

      assertThat(split(GfnRange.ofPages(GFN, 1), SMALL, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);

      verify(vm.ops, times(0)).needTopupExternalPerVmSplitCache(any(), any());
      assertThat(vm.pages().census()).containsEntry(PageOwner.EXTERNAL_PAGE_TABLE, 0L);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void ofAMirror_crossingBothEnds_splitsTheGigabyteThenTwoOfItsParts(LockMode mode) {
      vm.assertSoundAndDestroy();
      vm = TestVm.td();
      GuestMemfd gmem = allocateAlignedGigabyte();
      vm.addPrivate(GFN, GIGABYTE_PAGES, gmem, 0);
      // A table of 1G entries to put the leaf in; the MMU itself never maps 1G private.
      GuestMemfd other = vm.addPrivate(0, 1, SMALL);
      vm.map(0, TestVm.PRIVATE_WRITE);
      long leaf = vm.mmu.format().makeLeaf(GIGABYTE, gmem.pfnAt(0), LeafTraits.WRITABLE, true);
      assertThat(vm.write(vm.mirrorRoot(), GFN, GIGABYTE, LockMode.SHARED, leaf))
          .isEqualTo(Errno.OK);

      vm.mmuLock().lock(mode);
      assertThat(
              vm.mmu.splitCrossBoundaryLeafs(
                  new GfnRange(GFN + 1, GFN + GIGABYTE_PAGES - 1), mode, SplitCause.PUNCH_HOLE))
          .isEqualTo(Errno.OK);
      vm.mmuLock().unlock(mode);

      assertThat(other.frames()).isEqualTo(1);
      assertThat(vm.leafCounts()).containsExactly(1L + 1024, 510L, 0L);
      assertThat(vm.peek(vm.mirrorRoot(), GFN + 0x200))
          .isEqualTo(leaf + (0x200L << 12))
          .isEqualTo(0x8600000000000bb7L | (gmem.pfnAt(0x200) << 12));
      assertThat(counter(MmuCounter.MIRROR_SPLITS)).isEqualTo(3);
    }

    /** A guest_memfd of 1 GiB whose frames lie in a row from a 1 GiB boundary. */
    private GuestMemfd allocateAlignedGigabyte() {
      List<Long> burnt = new ArrayList<>();
      while (burnt.isEmpty() || burnt.get(burnt.size() - 1) != 0x180000 - 512) {
        burnt.add(vm.pages().allocFolio(PageOwner.TD_CONTROL, Gfp.KERNEL));
      }
      GuestMemfd gmem = vm.newGmem(GIGABYTE_PAGES, HUGE);
      for (long index = 0; index < GIGABYTE_PAGES; index += 512) {
        assertThat(gmem.allocate(index)).isEqualTo(Errno.OK);
      }
      burnt.forEach(pfn -> vm.pages().freeFolio(pfn, PageOwner.TD_CONTROL));
      assertThat(gmem.pfnAt(0)).isEqualTo(0x180000);
      assertThat(gmem.pfnAt(GIGABYTE_PAGES - 1)).isEqualTo(0x180000 + GIGABYTE_PAGES - 1);
      return gmem;
    }

    private void map1G() {
      vm.addShared(GFN, GIGABYTE_PAGES);
      vm.memory.setLevel(GIGABYTE);
      vm.map(GFN, TestVm.WRITE);
      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 1L);
    }

    private Errno split(GfnRange range, PageLevel target, LockMode mode) {
      vm.mmuLock().lock(mode);
      try {
        return HugePageSplitter.split(
            vm.mmu, vm.directRoot(), range, target, mode, SplitCause.FAULT);
      } finally {
        vm.mmuLock().unlock(mode);
      }
    }

    private long counter(MmuCounter counter) {
      return vm.mmu.counters().get(counter);
    }
  }
}
