package dev.septum.mmu;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.doAnswer;
import static org.mockito.Mockito.doReturn;
import static org.mockito.Mockito.verify;

import dev.septum.kernel.LockChecker.LockViolation;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SpteWriterTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;

  @Nested
  class Direct {

    private final TestVm vm = TestVm.ordinary();
    private final SpteFormat format = vm.mmu.format();

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void set_entryUnchanged_writesCountsAndTracesOnce(LockMode mode) {
      mapOne();
      long old = vm.spte(vm.directRoot(), GFN, SMALL);

      assertThat(vm.write(vm.directRoot(), GFN, SMALL, mode, SpteFormat.NONPRESENT))
          .isEqualTo(Errno.OK);

      assertThat(vm.spte(vm.directRoot(), GFN, SMALL)).isEqualTo(SpteFormat.NONPRESENT);
      assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
      assertThat(vm.takeEvents())
          .containsExactly(
              "kvm_tdp_mmu_spte_changed: as id 0 gfn 40000 level 1 old_spte %x new_spte %x"
                  .formatted(old, SpteFormat.NONPRESENT));
    }

    @Test
    void setShared_entryChangedSinceItWasRead_losesAndHasTheNewValue() {
      mapOne();
      long intruder = format.writeProtect(vm.spte(vm.directRoot(), GFN, SMALL));

      vm.at(
          vm.directRoot(),
          GFN,
          SMALL,
          LockMode.SHARED,
          iter -> {
            iter.table().spt().set(iter.index(), intruder);
            Errno error = writer(LockMode.SHARED).set(iter, SpteFormat.NONPRESENT);
            assertThat(error).isEqualTo(Errno.EBUSY);
            assertThat(iter.oldSpte()).isEqualTo(intruder);
            return error;
          });

      assertThat(vm.spte(vm.directRoot(), GFN, SMALL)).isEqualTo(intruder);
      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
      assertThat(vm.takeEvents()).isEmpty();
    }

    @Test
    void setExclusive_hardwareChangedTheEntry_reportsWhatItReplaced() {
      mapOne();
      long seen = vm.spte(vm.directRoot(), GFN, SMALL);
      long byHardware = format.clearDirty(seen);

      vm.at(
          vm.directRoot(),
          GFN,
          SMALL,
          LockMode.EXCLUSIVE,
          iter -> {
            iter.table().spt().set(iter.index(), byHardware);
            return writer(LockMode.EXCLUSIVE).set(iter, SpteFormat.NONPRESENT);
          });

      assertThat(vm.takeEvents())
          .containsExactly(
              "kvm_tdp_mmu_spte_changed: as id 0 gfn 40000 level 1 old_spte %x new_spte %x"
                  .formatted(byHardware, SpteFormat.NONPRESENT));
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void set_sameValue_isNotTraced(LockMode mode) {
      mapOne();
      long spte = vm.spte(vm.directRoot(), GFN, SMALL);

      assertThat(vm.write(vm.directRoot(), GFN, SMALL, mode, spte)).isEqualTo(Errno.OK);

      assertThat(vm.takeEvents()).isEmpty();
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void set_frozenEntry_isRefused(LockMode mode) {
      mapOne();
      long spte = vm.spte(vm.directRoot(), GFN, SMALL);
      vm.corrupt(vm.directRoot(), GFN, SMALL, SpteFormat.FROZEN);

      assertThatIllegalStateException()
          .isThrownBy(() -> vm.write(vm.directRoot(), GFN, SMALL, mode, spte))
          .withMessage("stale iterator at gfn 0x40000");

      assertThat(vm.spte(vm.directRoot(), GFN, SMALL)).isEqualTo(SpteFormat.FROZEN);
      vm.corrupt(vm.directRoot(), GFN, SMALL, spte);
    }

    @Test
    void set_afterAYield_isRefused() {
      mapOne();

      assertThatIllegalStateException()
          .isThrownBy(
              () ->
                  vm.at(
                      vm.directRoot(),
                      GFN,
                      SMALL,
                      LockMode.SHARED,
                      iter -> {
                        iter.markYielded();
                        return writer(LockMode.SHARED).set(iter, SpteFormat.NONPRESENT);
                      }))
          .withMessage("stale iterator at gfn 0x40000");
      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    }

    @Test
    void set_lockHeldInTheOtherMode_isReported() {
      mapOne();

      assertThatExceptionOfType(LockViolation.class)
          .isThrownBy(
              () ->
                  vm.at(
                      vm.directRoot(),
                      GFN,
                      SMALL,
                      LockMode.SHARED,
                      i -> writer(LockMode.EXCLUSIVE).set(i, SpteFormat.NONPRESENT)))
          .withMessageContaining("mmu_lock is not held for write");
      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    }

    @Test
    void zapAndFlush_entryChangedSinceItWasRead_touchesNothingAndHasTheNewValue() {
      mapOne();
      long table = vm.spte(vm.directRoot(), GFN, PageLevel.LEVEL_2M);
      vm.events.clear();

      Errno error =
          vm.at(
              vm.directRoot(),
              GFN,
              PageLevel.LEVEL_2M,
              LockMode.SHARED,
              iter -> {
                iter.setOldSpte(table + 0x1000);
                Errno result = SpteWriter.forMode(vm.mmu, LockMode.SHARED).zapAndFlush(iter);
                assertThat(iter.oldSpte()).isEqualTo(table);
                return result;
              });

      assertThat(error).isEqualTo(Errno.EBUSY);
      assertThat(vm.takeEvents()).isEmpty();
      assertThat(vm.flushes()).isZero();
    }

    @Test
    void zapAndFlush_isForTheReadLock() {
      mapOne();

      assertThatIllegalStateException()
          .isThrownBy(
              () ->
                  vm.at(
                      vm.directRoot(),
                      GFN,
                      PageLevel.LEVEL_2M,
                      LockMode.EXCLUSIVE,
                      SpteWriter.forMode(vm.mmu, LockMode.SHARED)::zapAndFlush))
          .withMessage("mmu_lock is not held for read");
    }

    @Test
    void set_flagChange_isTracedAndNotCounted() {
      mapOne();
      long old = vm.spte(vm.directRoot(), GFN, SMALL);

      assertThat(vm.write(vm.directRoot(), GFN, SMALL, LockMode.SHARED, format.writeProtect(old)))
          .isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
      assertThat(vm.takeEvents()).hasSize(1);
    }

    @Test
    void set_leafWithInconsistentWriteBits_bugsTheVm() {
      mapOne();
      long old = vm.spte(vm.directRoot(), GFN, SMALL);

      assertThat(vm.write(vm.directRoot(), GFN, SMALL, LockMode.SHARED, old & ~(1L << 57)))
          .isEqualTo(Errno.OK);

      vm.assertBugged("writable SPTE without HOST_WRITABLE");
      vm.corrupt(vm.directRoot(), GFN, SMALL, old);
    }

    @Test
    void set_presentLeafToAnotherPage_isFatal() {
      mapOne();
      long old = vm.spte(vm.directRoot(), GFN, SMALL);

      assertThatIllegalStateException()
          .isThrownBy(() -> vm.write(vm.directRoot(), GFN, SMALL, LockMode.SHARED, old + (1 << 12)))
          .withMessageContaining("gfn 0x40000 level 1: a present leaf changed its pfn");
      vm.corrupt(vm.directRoot(), GFN, SMALL, old);
    }

    @Test
    void set_betweenValuesThatMapNothing_bugsTheVm() {
      mapOne();

      assertThat(
              vm.write(vm.directRoot(), GFN + 1, SMALL, LockMode.SHARED, SpteFormat.NONPRESENT | 1))
          .isEqualTo(Errno.OK);

      vm.assertBugged("unexpected SPTE change between non-present values");
      vm.corrupt(vm.directRoot(), GFN + 1, SMALL, SpteFormat.NONPRESENT);
    }

    @Test
    void set_mmioAndBack_isLegal() {
      mapOne();
      long mmio = format.makeMmio(GFN + 1, 1);

      assertThat(vm.write(vm.directRoot(), GFN + 1, SMALL, LockMode.SHARED, mmio))
          .isEqualTo(Errno.OK);
      assertThat(
              vm.write(vm.directRoot(), GFN + 1, SMALL, LockMode.EXCLUSIVE, SpteFormat.NONPRESENT))
          .isEqualTo(Errno.OK);

      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    }

    private void mapOne() {
      vm.addShared(GFN, 0x400);
      vm.map(GFN, TestVm.WRITE);
      vm.events.clear();
    }

    private SpteWriter writer(LockMode mode) {
      return SpteWriter.forMode(vm.mmu, mode);
    }
  }

  @Nested
  class Mirror {

    private final TestVm vm = TestVm.td();
    private final SpteFormat format = vm.mmu.format();
    private final GuestMemfd gmem = vm.addPrivate(GFN, 0x400, HUGE);

    @AfterEach
    void vmIsSound() {
      vm.assertSoundAndDestroy();
    }

    @Test
    void insert_entryIsFrozenDuringTheOp_andPublishedAfterIt() {
      mapSmall();
      long spte = leafFor(GFN);
      List<Long> seen = new ArrayList<>();
      doAnswer(
              call -> {
                seen.add(vm.peek(vm.mirrorRoot(), GFN));
                seen.add((long) vm.leafCounts().get(0));
                return call.callRealMethod();
              })
          .when(vm.ops)
          .setExternalSpte(any(), anyLong(), any(), anyLong());

      assertThat(vm.write(vm.mirrorRoot(), GFN, SMALL, LockMode.SHARED, spte)).isEqualTo(Errno.OK);

      assertThat(seen).containsExactly(SpteFormat.FROZEN, 1L);
      assertThat(vm.peek(vm.mirrorRoot(), GFN)).isEqualTo(spte);
      assertThat(vm.leafCounts()).containsExactly(2L, 0L, 0L);
      assertThat(vm.takeEvents())
          .containsExactly(
              "set_external_spte: gfn 40000 level 1",
              "kvm_tdp_mmu_spte_changed: as id 0 gfn 40000 level 1 old_spte 8000000000000000"
                  + " new_spte %x".formatted(spte));
      verify(vm.ops).setExternalSpte(vm, GFN, SMALL, spte);
    }

    @ParameterizedTest
    @EnumSource(
        value = Errno.class,
        names = {"EBUSY", "EAGAIN", "EIO"})
    void insert_opFails_putsTheOldValueBack(Errno errno) {
      mapSmall();
      TestVm.State before = vm.state();
      doReturn(errno).when(vm.ops).setExternalSpte(any(), anyLong(), any(), anyLong());

      assertThat(vm.write(vm.mirrorRoot(), GFN, SMALL, LockMode.SHARED, leafFor(GFN)))
          .isEqualTo(errno);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.takeEvents()).isEmpty();
    }

    @Test
    void insert_entryChangedSinceItWasRead_neverReachesTheBackend() {
      mapSmall();
      long spte = leafFor(GFN);

      vm.at(
          vm.mirrorRoot(),
          GFN,
          SMALL,
          LockMode.SHARED,
          iter -> {
            iter.table().spt().set(iter.index(), SpteFormat.FROZEN);
            Errno error = SpteWriter.forMode(vm.mmu, LockMode.SHARED).set(iter, spte);
            assertThat(error).isEqualTo(Errno.EBUSY);
            assertThat(iter.oldSpte()).isEqualTo(SpteFormat.FROZEN);
            iter.table().spt().set(iter.index(), SpteFormat.NONPRESENT);
            return error;
          });

      assertThat(vm.takeEvents()).isEmpty();
      assertThat(vm.leafCounts()).containsExactly(1L, 0L, 0L);
    }

    @Test
    void presentLeafToLeaf_isIllegal() {
      mapSmall();
      long old = vm.spte(vm.mirrorRoot(), GFN + 1, SMALL);
      TestVm.State before = vm.state();

      assertThat(
              vm.write(vm.mirrorRoot(), GFN + 1, SMALL, LockMode.SHARED, format.writeProtect(old)))
          .isEqualTo(Errno.EIO);

      vm.assertBugged("illegal change of a present mirror SPTE");
      assertThat(vm.state()).isEqualTo(before);
    }

    @Test
    void zap_underReadLock_isIllegal() {
      mapSmall();
      TestVm.State before = vm.state();

      assertThat(vm.write(vm.mirrorRoot(), GFN + 1, SMALL, LockMode.SHARED, SpteFormat.NONPRESENT))
          .isEqualTo(Errno.EBUSY);

      vm.assertBugged("mirror SPTE zapped under read mmu_lock");
      assertThat(vm.state()).isEqualTo(before);
    }

    @Test
    void zap_underWriteLock_removesFromTheExternalTableAfterTheMirror() {
      mapSmall();
      long old = vm.spte(vm.mirrorRoot(), GFN + 1, SMALL);

      assertThat(
              vm.write(vm.mirrorRoot(), GFN + 1, SMALL, LockMode.EXCLUSIVE, SpteFormat.NONPRESENT))
          .isEqualTo(Errno.OK);

      assertThat(vm.takeEvents())
          .containsExactly(
              "kvm_tdp_mmu_spte_changed: as id 0 gfn 40001 level 1 old_spte %x".formatted(old)
                  + " new_spte 8000000000000000",
              "remove_external_spte: gfn 40001 level 1");
      verify(vm.ops).removeExternalSpte(vm, GFN + 1, SMALL, old);
      assertThat(vm.view.mirrorLeafs()).isEmpty();
    }

    @Test
    void link_tableWithoutAnExternalPage_bugsTheVmAndRestores() {
      mapSmall();
      MmuPage table = vm.vcpu.allocPage();
      TestVm.State before = vm.state();

      assertThat(
              vm.write(
                  vm.mirrorRoot(),
                  GFN + 0x200,
                  HUGE,
                  LockMode.SHARED,
                  format.makeNonleaf(table.sptPfn)))
          .isEqualTo(Errno.EIO);

      vm.assertBugged("mirror table without an external page");
      assertThat(vm.state()).isEqualTo(before);
      vm.mmu.freeUnlinked(table);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_opFails_putsTheHugeLeafBack(LockMode mode) {
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      long huge = vm.spte(vm.mirrorRoot(), GFN, HUGE);
      MmuPage table = splitTable();
      TestVm.State before = vm.state();
      vm.events.clear();
      doReturn(Errno.EIO)
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

      assertThat(split(table, mode)).isEqualTo(Errno.EIO);

      assertThat(vm.state()).isEqualTo(before);
      assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
      assertThat(vm.takeEvents())
          .containsExactly(
              "kvm_mmu_split_huge_page: gfn 40000 spte %x level 2 errno -5".formatted(huge));
      assertThat(vm.mmu.counters().get(MmuCounter.MIRROR_SPLITS)).isZero();
      verify(vm.ops).splitExternalSpte(vm, GFN, HUGE, huge, table.externalSpt(), mode);
      vm.mmu.freeUnlinked(table);
    }

    @ParameterizedTest
    @EnumSource(LockMode.class)
    void split_entryIsFrozenDuringTheOp_andCountedAfterIt(LockMode mode) {
      vm.map(GFN, TestVm.PRIVATE_WRITE);
      MmuPage table = splitTable();
      List<Object> seen = new ArrayList<>();
      doAnswer(
              call -> {
                seen.add(vm.peek(vm.mirrorRoot(), GFN));
                seen.add(vm.leafCounts());
                return call.callRealMethod();
              })
          .when(vm.ops)
          .splitExternalSpte(any(), anyLong(), any(), anyLong(), anyLong(), any());

      assertThat(split(table, mode)).isEqualTo(Errno.OK);

      assertThat(seen).containsExactly(SpteFormat.FROZEN, List.of(0L, 1L, 0L));
      assertThat(vm.leafCounts()).containsExactly(512L, 0L, 0L);
    }

    private Errno split(MmuPage table, LockMode mode) {
      return vm.at(
          vm.mirrorRoot(),
          GFN,
          HUGE,
          mode,
          iter -> {
            table.init(iter.table().role().child(), iter.gfn(), iter.table(), iter.index());
            SpteWriter writer = SpteWriter.forMode(vm.mmu, mode);
            return HugePageSplitter.linkSplitTable(
                vm.mmu, writer, iter, table, SplitCause.PUNCH_HOLE);
          });
    }

    private MmuPage splitTable() {
      MmuPage table = vm.vcpu.allocPage();
      long external = vm.vcpu.allocExternalSpt();
      assertThat(external).isNotEqualTo(PageAllocator.NO_PAGE);
      assertThat(vm.pages().ownerOf(external)).isEqualTo(PageOwner.EXTERNAL_PAGE_TABLE);
      table.setExternalSpt(external);
      return table;
    }

    /** Has a 4K table around {@link #GFN} with gfn + 1 mapped in it. */
    private void mapSmall() {
      requireSlot().setGuestInhibit(GFN, HUGE);
      vm.map(GFN + 1, TestVm.PRIVATE_WRITE);
      vm.events.clear();
    }

    private Memslot requireSlot() {
      return requireNonNull(vm.mmu.memslots().find(GFN));
    }

    private long leafFor(long gfn) {
      assertThat(gmem.allocate(gfn - GFN)).isEqualTo(Errno.OK);
      return format.makeLeaf(SMALL, gmem.pfnAt(gfn - GFN), LeafTraits.WRITABLE, true);
    }
  }
}
