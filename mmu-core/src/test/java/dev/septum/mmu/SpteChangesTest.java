package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.doReturn;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.verify;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The end of a subtree that was unlinked. */
class SpteChangesTest {

  private static final long GFN = 0x40000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;
  private static final PageLevel HUGE = PageLevel.LEVEL_2M;
  private static final String PREPARE_ZAP =
      "kvm_mmu_prepare_zap_page: sp gen 0 gfn 40000 l1 8-byte q0 direct wux nxe ad root 0 sync";

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  @Test
  void unlinkedTable_underReadLock_isFrozenEntryByEntry() {
    List<Long> leafs = mapTwo();

    unlink(LockMode.SHARED);

    List<String> events = vm.takeEvents();
    assertThat(events).hasSize(2 + 512);
    assertThat(events.get(1)).isEqualTo(PREPARE_ZAP);
    assertThat(events.get(2)).isEqualTo(frozen(GFN, leafs.get(0)));
    assertThat(events.get(3)).isEqualTo(frozen(GFN + 1, SpteFormat.NONPRESENT));
    assertThat(events.get(2 + 511)).isEqualTo(frozen(GFN + 511, leafs.get(1)));
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
  }

  @Test
  void unlinkedTable_underWriteLock_freezesWhatIsPresentOnly() {
    List<Long> leafs = mapTwo();

    unlink(LockMode.EXCLUSIVE);

    List<String> events = vm.takeEvents();
    assertThat(events).hasSize(4);
    assertThat(events.subList(1, 4))
        .containsExactly(PREPARE_ZAP, frozen(GFN, leafs.get(0)), frozen(GFN + 511, leafs.get(1)));
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
  }

  @Test
  void unlinkedTable_isNotFreedWhileAReaderIsInside() {
    mapTwo();
    MmuPage table = vm.at(vm.directRoot(), GFN, SMALL, LockMode.SHARED, TdpIter::table);
    long leaf = table.spt().get(0);
    Signal inside = new Signal();
    Signal goOn = new Signal();
    KernelThread reader =
        vm.kernel()
            .spawn(
                "reader",
                () -> {
                  vm.kernel().rcu().readLock();
                  inside.say();
                  goOn.await();
                  assertThat(table.spt().get(0)).isEqualTo(SpteFormat.FROZEN);
                  vm.kernel().rcu().readUnlock();
                });
    inside.await();

    unlink(LockMode.SHARED);

    assertThat(leaf).isNotEqualTo(SpteFormat.FROZEN);
    assertThat(vm.pages().ownerOf(table.sptPfn)).isEqualTo(PageOwner.MMU_PAGE_TABLE);
    goOn.say();
    reader.join();
    assertThat(vm.pages().ownerOf(table.sptPfn)).isEqualTo(PageOwner.FREE);
  }

  @Test
  void entryInAnotherThreadsHands_isWaitedFor() {
    mapTwo();
    MmuPage table = vm.at(vm.directRoot(), GFN, SMALL, LockMode.SHARED, TdpIter::table);
    table.spt().set(5, SpteFormat.FROZEN);
    KernelThread zapper = vm.kernel().spawn("zapper", () -> unlink(LockMode.SHARED));
    Signal.awaitUntil(
        () -> table.spt().get(4) == SpteFormat.FROZEN, "the teardown to reach the entry");
    assertThat(table.spt().get(6)).isEqualTo(SpteFormat.NONPRESENT);

    // What the other thread was doing: publishing a mapping.
    vm.stats().increment(VmStat.PAGES_4K);
    table.spt().set(5, vm.mmu.format().makeLeaf(SMALL, GFN + 5, LeafTraits.WRITABLE, true));
    zapper.join();

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.view.tables()).isEqualTo(3);
  }

  @Test
  void subtreeOfSeveralLevels_goesWhole() {
    vm.addShared(GFN, 0x600);
    vm.map(GFN, TestVm.WRITE);
    vm.map(GFN + 0x200, TestVm.WRITE);
    vm.memory.setLevel(HUGE);
    vm.map(GFN + 0x400, TestVm.WRITE);
    assertThat(vm.leafCounts()).containsExactly(2L, 1L, 0L);

    assertThat(
            vm.write(
                vm.directRoot(),
                GFN,
                PageLevel.LEVEL_1G,
                LockMode.EXCLUSIVE,
                SpteFormat.NONPRESENT))
        .isEqualTo(Errno.OK);

    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.view.tables()).isEqualTo(2);
  }

  @Test
  void mirrorTable_isGivenBackByTheBackendAfterItsLeafs() {
    useTd();

    vm.write(vm.mirrorRoot(), GFN, HUGE, LockMode.EXCLUSIVE, SpteFormat.NONPRESENT);

    assertThat(vm.takeEvents().stream().filter(e -> e.contains("external")))
        .containsExactly(
            "remove_external_spte: gfn 40000 level 1", "free_external_spt: gfn 40000 level 1");
    assertThat(vm.view.mirrorTables()).hasSize(2);
  }

  @Test
  void mirrorTable_thatTheBackendKeeps_isLeakedNotFreed() {
    useTd();
    MmuPage table = vm.at(vm.mirrorRoot(), GFN, SMALL, LockMode.SHARED, TdpIter::table);
    long external = table.externalSpt();
    doReturn(Errno.EIO)
        .doCallRealMethod()
        .when(vm.ops)
        .freeExternalSpt(any(), anyLong(), any(), anyLong());

    vm.write(vm.mirrorRoot(), GFN, HUGE, LockMode.EXCLUSIVE, SpteFormat.NONPRESENT);

    assertThat(table.hasExternalSpt()).isFalse();
    assertThat(vm.pages().ownerOf(external)).isEqualTo(PageOwner.SEPT_PAGE);
    assertThat(vm.pages().ownerOf(table.sptPfn)).isEqualTo(PageOwner.FREE);
    vm.pages().freePage(external, PageOwner.SEPT_PAGE);
  }

  @Test
  void mirrorLeafUnderATableTornDownUnderReadLock_bugsTheVm() {
    useTd();
    long table = vm.spte(vm.mirrorRoot(), GFN, HUGE);
    vm.corrupt(vm.mirrorRoot(), GFN, HUGE, SpteFormat.NONPRESENT);

    vm.mmuLock().lock(LockMode.SHARED);
    vm.kernel().rcu().readLock();
    MmuPage page = vm.mmu.childPage(table);
    long external = page.externalSpt();
    page.forgetExternalSpt();
    vm.mmu.changes().handle(0, GFN, HUGE, table, SpteFormat.NONPRESENT, LockMode.SHARED);
    vm.kernel().rcu().readUnlock();
    vm.mmuLock().unlock(LockMode.SHARED);

    vm.assertBugged("mirror leaf removed under read mmu_lock");
    verify(vm.ops, never()).removeExternalSpte(any(), anyLong(), any(), anyLong());
    vm.mmuLock().lock(LockMode.EXCLUSIVE);
    vm.ops.removeExternalSpte(vm, GFN, SMALL, 0);
    vm.mmuLock().unlock(LockMode.EXCLUSIVE);
    vm.pages().freePage(external, PageOwner.SEPT_PAGE);
  }

  private void useTd() {
    vm.assertSoundAndDestroy();
    vm = TestVm.td();
    vm.addPrivate(GFN, 1, SMALL);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    vm.events.clear();
  }

  private List<Long> mapTwo() {
    vm.addShared(GFN, 0x200);
    vm.map(GFN, TestVm.WRITE);
    vm.map(GFN + 511, TestVm.WRITE);
    vm.events.clear();
    return List.of(vm.peek(vm.directRoot(), GFN), vm.peek(vm.directRoot(), GFN + 511));
  }

  private void unlink(LockMode mode) {
    assertThat(vm.write(vm.directRoot(), GFN, HUGE, mode, SpteFormat.NONPRESENT))
        .isEqualTo(Errno.OK);
  }

  private static String frozen(long gfn, long oldSpte) {
    return "kvm_tdp_mmu_spte_changed: as id 0 gfn %x level 1 old_spte %x new_spte 80000000000005a0"
        .formatted(gfn, oldSpte);
  }
}
