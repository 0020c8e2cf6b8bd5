package dev.septum.mmu;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.doReturn;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class VmMemoryTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final PageLevel GIGABYTE = PageLevel.LEVEL_1G;

  static Stream<MemoryRegion> impossibleRegions() {
    long hva = GFN << 12;
    return Stream.of(
        MemoryRegion.shared(-1, GFN, 1, hva),
        MemoryRegion.shared(0, -1, 1, hva),
        MemoryRegion.shared(0, GFN, -1, hva),
        MemoryRegion.shared(0, GFN, 1, hva + 1),
        MemoryRegion.shared(0, (1L << 40) - 1, 2, hva),
        MemoryRegion.shared(0, Long.MAX_VALUE, 2, hva),
        MemoryRegion.shared(0, TestVm.SHARED_BIT, 1, hva),
        MemoryRegion.delete(0));
  }

  @Nested
  class Regions {

    private TestVm vm = TestVm.td();

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    private void use(TestVm other) {
      vm.assertSoundAndDestroy();
      vm = other;
    }

    private Errno set(MemoryRegion region) {
      return vm.mmu.memory().setRegion(region);
    }

    @ParameterizedTest
    @MethodSource("dev.septum.mmu.VmMemoryTest#impossibleRegions")
    void impossibleRegion_isEinval(MemoryRegion region) {
      assertThat(set(region)).isEqualTo(Errno.EINVAL);

      assertThat(vm.mmu.memslots().all()).isEmpty();
      assertThat(vm.mmu.memslots().generation(0)).isZero();
    }

    @Test
    void gmemThatDoesNotFit_isEinval() {
      GuestMemfd gmem = vm.newGmem(4, SMALL);

      assertThat(set(withGmem(0, GFN, 5, gmem, 0))).isEqualTo(Errno.EINVAL);
      assertThat(set(withGmem(0, GFN, 4, gmem, 1))).isEqualTo(Errno.EINVAL);
      assertThat(set(withGmem(0, GFN, 4, gmem, -1))).isEqualTo(Errno.EINVAL);
      assertThat(set(withGmem(0, GFN, 2, gmem, Long.MAX_VALUE))).isEqualTo(Errno.EINVAL);
      assertThat(set(MemoryRegion.withGmem(0, GFN, 4, 0, gmem, 0).withFlags(MemoryRegion.READONLY)))
          .isEqualTo(Errno.EINVAL);
      assertThat(set(withGmem(0, GFN, 4, gmem, 0))).isEqualTo(Errno.OK);
    }

    @Test
    void gmemFramesThatAnotherSlotHas_areEinval() {
      GuestMemfd gmem = vm.newGmem(4, SMALL);
      assertThat(set(withGmem(0, GFN, 2, gmem, 1))).isEqualTo(Errno.OK);

      assertThat(set(withGmem(1, 2 * GFN, 2, gmem, 0))).isEqualTo(Errno.EINVAL);
      assertThat(set(withGmem(1, 2 * GFN, 1, gmem, 2))).isEqualTo(Errno.EINVAL);
      assertThat(set(withGmem(1, 2 * GFN, 1, gmem, 3))).isEqualTo(Errno.OK);
      assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
      assertThat(set(withGmem(0, GFN, 3, gmem, 0))).isEqualTo(Errno.OK);
    }

    @Test
    void gmemInAnOrdinaryVm_isEinval() {
      use(TestVm.ordinary());
      GuestMemfd gmem = vm.newGmem(4, SMALL);

      assertThat(set(withGmem(0, GFN, 4, gmem, 0))).isEqualTo(Errno.EINVAL);
    }

    @Test
    void overlap_isEexist() {
      vm.addShared(GFN, 4);

      assertThat(set(MemoryRegion.shared(1, GFN + 3, 1, 0))).isEqualTo(Errno.EEXIST);
      assertThat(set(MemoryRegion.shared(1, GFN - 1, 2, 0))).isEqualTo(Errno.EEXIST);
      assertThat(set(MemoryRegion.shared(1, GFN + 4, 1, 0))).isEqualTo(Errno.OK);
      assertThat(set(MemoryRegion.shared(0, GFN + 2, 4, GFN << 12))).isEqualTo(Errno.EEXIST);

      assertThat(vm.mmu.memslots().all())
          .map(Memslot::toString)
          .containsExactly("slot 0 [0x40000, 0x40004)", "slot 1 [0x40004, 0x40005)");
    }

    @Test
    void changeOfSizeAddressOrWritability_isEinval() {
      vm.addShared(GFN, 4);
      long hva = GFN << 12;

      assertThat(set(MemoryRegion.shared(0, GFN, 5, hva))).isEqualTo(Errno.EINVAL);
      assertThat(set(MemoryRegion.shared(0, GFN, 4, 0))).isEqualTo(Errno.EINVAL);
      assertThat(set(MemoryRegion.shared(0, GFN, 4, hva).withFlags(MemoryRegion.READONLY)))
          .isEqualTo(Errno.EINVAL);
    }

    @Test
    void sameRegionAgain_changesNothing() {
      vm.addShared(GFN, 4);
      long generation = vm.mmu.memslots().generation(0);

      assertThat(set(MemoryRegion.shared(0, GFN, 4, GFN << 12))).isEqualTo(Errno.OK);

      assertThat(vm.mmu.memslots().generation(0)).isEqualTo(generation);
    }

    @Test
    void gmemSlot_cannotBeChangedInPlace() {
      GuestMemfd gmem = vm.addPrivate(GFN, 4, SMALL);

      assertThat(set(withGmem(0, GFN, 4, gmem, 0))).isEqualTo(Errno.EINVAL);
      assertThat(set(withGmem(0, GFN + 8, 4, gmem, 0))).isEqualTo(Errno.EINVAL);
    }

    @Test
    void buggedVm_isEio() {
      vm.bugOn(true, "on purpose");
      vm.assertBugged("on purpose");

      assertThat(set(MemoryRegion.shared(0, GFN, 4, GFN << 12))).isEqualTo(Errno.EIO);
      assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 1), true))
          .isEqualTo(Errno.EIO);
    }

    @Test
    void deletedSlotOfAnOrdinaryVm_takesEveryMappingAlong() {
      use(TestVm.ordinary());
      vm.addShared(GFN, 2);
      vm.addShared(2 * GFN, 2);
      vm.map(GFN, TestVm.WRITE);
      vm.map(2 * GFN, TestVm.WRITE);

      assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
      assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
      assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FaultOutcome.of(RetPf.EMULATE));
      vm.map(2 * GFN, TestVm.WRITE);
    }

    @Test
    void deletedSlotOfATd_takesItsOwnMappingsOfBothKinds() {
      vm.addPrivate(GFN, 4, SMALL);
      vm.addPrivate(2 * GFN, 1, SMALL);
      assertThat(vm.mmu.memory().setAttributes(GfnRange.ofPages(GFN, 1), false))
          .isEqualTo(Errno.OK);
      vm.map(GFN | TestVm.SHARED_BIT, TestVm.WRITE);
      vm.map(GFN + 1, TestVm.PRIVATE_WRITE);
      vm.map(2 * GFN, TestVm.PRIVATE_WRITE);
      long tables = vm.view.tables();

      assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);

      assertThat(vm.view.directLeafs()).isEmpty();
      assertThat(vm.view.mirrorLeafs()).extracting(MappedLeaf::gfn).containsExactly(2 * GFN);
      assertThat(vm.view.tables()).isEqualTo(tables);
      assertThat(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isEqualTo(1);
      assertThat(vm.mmu.memslots().byId(0)).isNull();
    }

    @Test
    void deletedSlot_letsItsFileBePunchedWithoutTheVm() {
      GuestMemfd gmem = vm.addPrivate(GFN, 4, SMALL);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
      long seq = vm.mmu.invalidate().seq();

      assertThat(gmem.punchHole(0, 4)).isEqualTo(Errno.OK);

      assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq);
      assertThat(vm.pages().census()).containsEntry(PageOwner.GUEST_MEMORY, 0L);
    }

    @Test
    void movedSlot_isGoneFromTheOldPlaceAndThereAtTheNew() {
      use(TestVm.ordinary());
      vm.addShared(GFN, 2);
      vm.map(GFN, TestVm.WRITE);

      assertThat(set(MemoryRegion.shared(0, 2 * GFN, 2, GFN << 12))).isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
      assertThat(vm.vcpu.load()).isEqualTo(Errno.OK);
      assertThat(vm.fault(GFN, TestVm.WRITE)).isEqualTo(FaultOutcome.of(RetPf.EMULATE));
      vm.map(2 * GFN + 1, TestVm.WRITE);
      assertThat(vm.view.directLeafs())
          .extracting(MappedLeaf::gfn, MappedLeaf::pfn)
          .containsExactly(tuple(2 * GFN + 1, GFN + 1));
    }

    @Test
    void generation_advancesByTheAddressSpacesAtEachSwap() {
      vm.addShared(GFN, 1);
      assertThat(vm.mmu.memslots().generation(0)).isEqualTo(1);
      assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
      assertThat(vm.mmu.memslots().generation(0)).isEqualTo(3);

      use(TestVm.ordinary());
      vm.addShared(GFN, 1);
      assertThat(vm.mmu.memslots().generation(0)).isEqualTo(2);
      assertThat(set(MemoryRegion.delete(0))).isEqualTo(Errno.OK);
      assertThat(vm.mmu.memslots().generation(0)).isEqualTo(6);
    }

    @Test
    void find_hitsTheSlotAroundTheGfn() {
      vm.addShared(GFN, 4);
      vm.addShared(0x100, 1);
      vm.addShared(2 * GFN, 8);
      Memslots slots = vm.mmu.memslots();

      assertThat(id(slots.find(GFN - 1))).isEqualTo(-1);
      assertThat(id(slots.find(GFN))).isZero();
      assertThat(id(slots.find(GFN + 3))).isZero();
      assertThat(id(slots.find(GFN + 4))).isEqualTo(-1);
      assertThat(id(slots.find(0x100))).isEqualTo(1);
      assertThat(id(slots.find(0))).isEqualTo(-1);
      assertThat(id(slots.find(2 * GFN + 7))).isEqualTo(2);
      assertThat(slots.all()).extracting(Memslot::id).containsExactly(1, 0, 2);
      assertThat(slots.overlapping(0, new GfnRange(GFN + 3, 2 * GFN + 1)))
          .extracting(Memslot::id)
          .containsExactly(0, 2);
      assertThat(slots.byId(7)).isNull();
    }

    private int id(@Nullable Memslot slot) {
      return slot == null ? -1 : slot.id();
    }

    private MemoryRegion withGmem(int slot, long gfn, long pages, GuestMemfd gmem, long offset) {
      return MemoryRegion.withGmem(slot, gfn, pages, gfn << 12, gmem, offset);
    }
  }

  @Nested
  class Attributes {

    private TestVm vm = TestVm.td();

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    private void use(TestVm other) {
      vm.assertSoundAndDestroy();
      vm = other;
    }

    private Errno set(long start, long end, boolean isPrivate) {
      return vm.mmu.memory().setAttributes(new GfnRange(start, end), isPrivate);
    }

    @Test
    void impossibleRange_isEinval() {
      assertThat(set(GFN, GFN, true)).isEqualTo(Errno.EINVAL);
      assertThat(set(GFN, (1L << 40) + 1, true)).isEqualTo(Errno.EINVAL);
      use(TestVm.ordinary());
      assertThat(set(GFN, GFN + 1, true)).isEqualTo(Errno.EINVAL);
      assertThat(set(GFN, GFN + 1, false)).isEqualTo(Errno.EINVAL);
    }

    @Test
    void whatIsSoAlready_isNotInvalidated() {
      vm.addPrivate(GFN, 4, SMALL);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      TestVm.State before = vm.state();
      long seq = vm.mmu.invalidate().seq();

      assertThat(set(GFN, GFN + 4, true)).isEqualTo(Errno.OK);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq);
    }

    @Test
    void toShared_dropsPrivateMappingsOfTheRangeOnly() {
      vm.addPrivate(GFN, 4, SMALL);
      for (long gfn = GFN; gfn < GFN + 4; gfn++) {
        vm.map(gfn, TestVm.PRIVATE_WRITE);
      }
      long seq = vm.mmu.invalidate().seq();

      assertThat(set(GFN + 1, GFN + 3, false)).isEqualTo(Errno.OK);

      assertThat(vm.view.mirrorLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN, GFN + 3);
      assertThat(vm.view.isPrivate(GFN)).isTrue();
      assertThat(vm.view.isPrivate(GFN + 1)).isFalse();
      assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq + 1);
      assertThat(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isEqualTo(1);
    }

    @Test
    void toPrivate_dropsSharedMappingsAndLeavesTheMirrorAlone() {
      vm.addPrivate(GFN, 4, SMALL);
      assertThat(set(GFN, GFN + 2, false)).isEqualTo(Errno.OK);
      vm.map(GFN | TestVm.SHARED_BIT, TestVm.WRITE);
      vm.map((GFN + 1) | TestVm.SHARED_BIT, TestVm.WRITE);
      vm.map(GFN + 2, TestVm.PRIVATE_WRITE);

      assertThat(set(GFN, GFN + 1, true)).isEqualTo(Errno.OK);

      assertThat(vm.view.directLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN + 1);
      assertThat(vm.view.mirrorLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN + 2);
    }

    @Test
    void nothingMapped_isNotFlushed() {
      vm.addPrivate(GFN, 4, SMALL);

      assertThat(set(GFN, GFN + 1, false)).isEqualTo(Errno.OK);

      assertThat(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isZero();
    }

    @Test
    void toShared_splitsEveryCrossingLeafBeforeTheFirstZap() {
      vm.addPrivate(GFN, 0x400, HUGE);
      vm.addPrivate(GFN + 0x400, 0x400, HUGE);
      mapFourHuge();
      vm.events.clear();

      assertThat(set(GFN + 0x100, GFN + 0x700, false)).isEqualTo(Errno.OK);

      List<String> ops = vm.events.stream().filter(e -> e.contains("external")).toList();
      assertThat(ops.subList(0, 2))
          .containsExactly(
              "split_external_spte: gfn 40000 level 2", "split_external_spte: gfn 40600 level 2");
      assertThat(ops.subList(2, ops.size())).allMatch(e -> e.startsWith("remove_external_spte"));
      assertThat(vm.leafCounts()).containsExactly(0x200L, 0L, 0L);
      assertThat(vm.mmu.splits().get(SplitCause.MEMORY_ATTRIBUTES)).isEqualTo(2);
      assertThat(vm.mmu.counters().get(MmuCounter.HUGE_LEAFS_ZAPPED)).isEqualTo(2);
      assertThat(vm.mmu.counters().get(MmuCounter.SMALL_LEAFS_ZAPPED)).isEqualTo(0x200);
    }

    @Test
    void toShared_aSplitFails_leavesAttributesAndPagesAsTheyWere() {
      vm.addPrivate(GFN, 0x400, HUGE);
      vm.addPrivate(GFN + 0x400, 0x400, HUGE);
      mapFourHuge();
      long seq = vm.mmu.invalidate().seq();
      doReturn(Errno.EIO)
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());
      TestVm.State before = vm.state();

      assertThat(set(GFN + 0x100, GFN + 0x700, false)).isEqualTo(Errno.EIO);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.mmu.attributes().isUniform(GfnRange.ofPages(GFN, 0x800), true)).isTrue();
      assertThat(vm.mmu.invalidate().isInProgress()).isFalse();
      assertThat(vm.mmu.invalidate().seq()).isEqualTo(seq + 1);
      assertThat(mixed(GFN, HUGE)).isFalse();
    }

    @Test
    void toShared_theSecondSplitFails_zapsNothing() {
      vm.addPrivate(GFN, 0x400, HUGE);
      vm.addPrivate(GFN + 0x400, 0x400, HUGE);
      mapFourHuge();
      vm.pages().faults().failNext(PageOwner.EXTERNAL_PAGE_TABLE.tag(), 2);

      assertThat(set(GFN + 0x100, GFN + 0x700, false)).isEqualTo(Errno.ENOMEM);

      assertThat(vm.leafCounts()).containsExactly(512L, 3L, 0L);
      assertThat(vm.mmu.attributes().isUniform(GfnRange.ofPages(GFN, 0x800), true)).isTrue();
    }

    @Test
    void duringAConversion_faultsOnStraddledHugePagesRetry() {
      vm.addPrivate(GFN, 0x400, HUGE);
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      VcpuMmu other = vm.newVcpu();
      AtomicReference<FaultOutcome> inside = new AtomicReference<>();
      AtomicReference<FaultOutcome> outside = new AtomicReference<>();
      AtomicLong asked = new AtomicLong();
      doAnswer(
              call -> {
                if (asked.getAndIncrement() == 0) {
                  inside.set(vm.mmu.handleFault(other, (GFN + 0x1ff) << 12, TestVm.PRIVATE_WRITE));
                  outside.set(vm.mmu.handleFault(other, (GFN + 0x200) << 12, TestVm.PRIVATE_WRITE));
                }
                return Errno.OK;
              })
          .when(vm.ops)
          .topupExternalPerVmSplitCache(any(), any());
      doAnswer(call -> asked.get() == 0)
          .when(vm.ops)
          .needTopupExternalPerVmSplitCache(any(), any());

      assertThat(set(GFN, GFN + 1, false)).isEqualTo(Errno.OK);

      assertThat(inside.get()).isEqualTo(FaultOutcome.of(RetPf.RETRY));
      assertThat(outside.get()).isEqualTo(FaultOutcome.of(RetPf.FIXED));
      assertThat(vm.leafCounts()).containsExactly(511L, 1L, 0L);
    }

    @Test
    void longZap_flushesBeforeItLetsAnotherThreadIn() {
      vm.addPrivate(GFN, 4, SMALL);
      for (long gfn = GFN; gfn < GFN + 4; gfn++) {
        vm.map(gfn, TestVm.PRIVATE_WRITE);
      }
      AtomicReference<@Nullable KernelThread> reader = new AtomicReference<>();
      AtomicLong flushesSeen = new AtomicLong(-1);
      doAnswer(
              call -> {
                if (reader.get() == null) {
                  reader.set(
                      vm.kernel()
                          .spawn(
                              "reader",
                              () -> {
                                vm.mmuLock().lock(LockMode.SHARED);
                                flushesSeen.set(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS));
                                vm.mmuLock().unlock(LockMode.SHARED);
                              }));
                  Signal.awaitUntil(vm.mmuLock()::needBreak, "a waiting reader");
                }
                return call.callRealMethod();
              })
          .when(vm.ops)
          .removeExternalSpte(any(), anyLong(), any(), anyLong());

      assertThat(set(GFN, GFN + 4, false)).isEqualTo(Errno.OK);
      requireNonNull(reader.get()).join();

      assertThat(vm.view.mirrorLeafs()).isEmpty();
      assertThat(flushesSeen.get()).isPositive();
      assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_RESCHED)).isPositive();
    }

    @Test
    void partOf2M_isMixedAtBothLevels_untilItIsUniformAgain() {
      use(TestVm.swProtected());
      vm.addShared(GFN, 0x40000);

      assertThat(set(GFN + 1, GFN + 0x201, true)).isEqualTo(Errno.OK);
      assertThat(mixed(GFN, HUGE)).isTrue();
      assertThat(mixed(GFN + 0x200, HUGE)).isTrue();
      assertThat(mixed(GFN + 0x400, HUGE)).isFalse();
      assertThat(mixed(GFN, GIGABYTE)).isTrue();

      assertThat(set(GFN, GFN + 0x400, true)).isEqualTo(Errno.OK);
      assertThat(mixed(GFN, HUGE)).isFalse();
      assertThat(mixed(GFN + 0x200, HUGE)).isFalse();
      assertThat(mixed(GFN, GIGABYTE)).isTrue();

      assertThat(set(GFN, GFN + 0x40000, false)).isEqualTo(Errno.OK);
      assertThat(mixed(GFN, GIGABYTE)).isFalse();
    }

    @Test
    void hugePageThatSticksOutOfTheSlot_isNeverMarked() {
      use(TestVm.swProtected());
      vm.addShared(GFN + 1, 0x3ff);

      assertThat(set(GFN + 1, GFN + 0x201, true)).isEqualTo(Errno.OK);

      assertThat(mixed(GFN + 1, HUGE)).isFalse();
      assertThat(mixed(GFN + 0x200, HUGE)).isTrue();
      assertThat(mixed(GFN + 0x200, GIGABYTE)).isFalse();
    }

    @Test
    void newSlot_takesOverWhatWasSetBefore() {
      use(TestVm.swProtected());
      assertThat(set(GFN + 1, GFN + 2, true)).isEqualTo(Errno.OK);

      vm.addShared(GFN, 0x40000);

      assertThat(mixed(GFN, HUGE)).isTrue();
      assertThat(mixed(GFN, GIGABYTE)).isTrue();
      assertThat(mixed(GFN + 0x200, HUGE)).isFalse();
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void anySequence_marksJustWhatIsMixed(long seed) {
      use(TestVm.swProtected());
      int pages = 0x40000 + 0x400;
      vm.addShared(GFN, pages);
      Random random = new Random(seed);
      BitSet model = new BitSet(pages);
      for (int step = 0; step < 40; step++) {
        int start = random.nextInt(pages);
        int length = 1 + random.nextInt(random.nextBoolean() ? 0x1000 : 0x40000);
        int end = Math.min(pages, start + length);
        boolean isPrivate = random.nextBoolean();
        model.set(start, end, isPrivate);

        assertThat(set(GFN + start, GFN + end, isPrivate)).isEqualTo(Errno.OK);

        for (PageLevel level : List.of(HUGE, GIGABYTE)) {
          int size = (int) level.pages();
          for (int i = 0; i + size <= pages; i += size) {
            int first = model.get(i) ? model.nextClearBit(i) : model.nextSetBit(i);
            boolean isMixed = first >= 0 && first < i + size;
            assertThat(mixed(GFN + i, level))
                .as("seed %d step %d page %x level %s", seed, step, i, level)
                .isEqualTo(isMixed);
          }
        }
      }
    }

    private boolean mixed(long gfn, PageLevel level) {
      return vm.view.isMixed(requireNonNull(vm.mmu.memslots().find(gfn)), gfn, level);
    }

    private void mapFourHuge() {
      for (long gfn = GFN; gfn < GFN + 0x800; gfn += 0x200) {
        vm.map(gfn, TestVm.PRIVATE_WRITE);
      }
      assertThat(vm.leafCounts()).containsExactly(0L, 4L, 0L);
    }
  }
}
