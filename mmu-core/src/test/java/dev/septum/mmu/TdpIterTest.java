package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TdpIterTest {

  private static final long BASE = 0x40000;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  @Test
  void walk_visitsParentsBeforeChildren_upToTheEndOfTheRange() {
    mapBothSidesOf2M();

    assertThat(visited(PageLevel.LEVEL_4K, BASE + 0x1ff, BASE + 0x201))
        .containsExactly("L4 0", "L3 40000", "L2 40000", "L1 401ff", "L2 40200", "L1 40200");
  }

  @Test
  void walk_endsAtTheLastGfn_evenWhereATableGoesOn() {
    mapBothSidesOf2M();

    assertThat(visited(PageLevel.LEVEL_4K, BASE + 0x200, BASE + 0x203))
        .containsExactly("L4 0", "L3 40000", "L2 40200", "L1 40200", "L1 40201", "L1 40202");
  }

  @Test
  void walk_withAMinimalLevel_neverGoesBelowIt() {
    mapBothSidesOf2M();

    assertThat(visited(PageLevel.LEVEL_2M, BASE + 0x1ff, BASE + 0x201))
        .containsExactly("L4 0", "L3 40000", "L2 40000", "L2 40200");
    assertThat(visited(PageLevel.LEVEL_512G, BASE, 1L << 28)).containsExactly("L4 0", "L4 8000000");
  }

  @Test
  void walk_startInTheMiddle_visitsTheUpperEntriesThatContainTheStart() {
    vm.addShared(BASE, 0x400);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(BASE, TestVm.WRITE);

    assertThat(visited(PageLevel.LEVEL_4K, BASE + 0x105, BASE + 0x106))
        .containsExactly("L4 0", "L3 40000", "L2 40000");
  }

  @Test
  void walk_emptyRoot_stepsSidewaysAtTheTop() {
    assertThat(visited(PageLevel.LEVEL_4K, 0x12345678, 0x12345679)).containsExactly("L4 10000000");
  }

  @Test
  void walk_fiveLevels_startsOneLevelHigher() {
    vm.assertSoundAndDestroy();
    vm =
        TestVm.of(
            VmType.DEFAULT, MmuParams.of(SpteFormat.ept()).withRootLevel(PageLevel.LEVEL_256T));
    mapBothSidesOf2M();

    assertThat(visited(PageLevel.LEVEL_4K, BASE + 0x1ff, BASE + 0x201))
        .containsExactly(
            "L5 0", "L4 0", "L3 40000", "L2 40000", "L1 401ff", "L2 40200", "L1 40200");
  }

  @Test
  void walk_ofATdsDirectRoot_addsTheSharedBitToTheIndexOnly() {
    vm.assertSoundAndDestroy();
    vm = TestVm.td();
    vm.addShared(BASE, 2);
    vm.map(BASE | TestVm.SHARED_BIT, TestVm.WRITE);

    int rootIndex =
        vm.at(vm.directRoot(), BASE, PageLevel.LEVEL_512G, LockMode.SHARED, TdpIter::index);
    assertThat(rootIndex).isEqualTo(256);
    assertThat(visited(PageLevel.LEVEL_4K, BASE, BASE + 1))
        .containsExactly("L4 0", "L3 40000", "L2 40000", "L1 40000");
    assertThat(wholeRootLeafs()).containsExactly("L1 800040000");
  }

  @Test
  void next_afterAYield_startsAgainFromTheRootAtTheCursor() {
    mapBothSidesOf2M();
    List<String> path = new ArrayList<>();

    inWalk(
        PageLevel.LEVEL_4K,
        BASE + 0x1ff,
        BASE + 0x202,
        iter -> {
          while (iter.gfn() != BASE + 0x201) {
            iter.next();
          }
          iter.markYielded();
          assertThat(iter.hasYielded()).isTrue();
          do {
            iter.next();
            path.add(text(iter));
          } while (iter.level() != PageLevel.LEVEL_4K);
          assertThat(iter.hasYielded()).isFalse();
        });

    assertThat(path).containsExactly("L4 0", "L3 40000", "L2 40200", "L1 40201");
  }

  @Test
  void next_onALeafThatWasSplitMeanwhile_descendsIntoTheFreshTable() {
    vm.addShared(BASE, 0x400);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(BASE, TestVm.WRITE);

    inWalk(
        PageLevel.LEVEL_4K,
        BASE + 3,
        BASE + 4,
        iter -> {
          while (iter.level() != PageLevel.LEVEL_2M) {
            iter.next();
          }
          splitAt(BASE);
          iter.next();
          assertThat(text(iter)).isEqualTo("L1 40003");
        });
  }

  @Test
  void next_onATableThatGaveWayToNothing_goesSideways() {
    mapBothSidesOf2M();

    inWalk(
        PageLevel.LEVEL_4K,
        BASE,
        BASE + 0x400,
        iter -> {
          while (iter.level() != PageLevel.LEVEL_2M) {
            iter.next();
          }
          assertThat(SpteWriter.forMode(vm.mmu, LockMode.SHARED).set(iter, SpteFormat.NONPRESENT))
              .isEqualTo(Errno.OK);
          iter.next();
          assertThat(text(iter)).isEqualTo("L2 40200");
        });
  }

  @Test
  void condResched_nobodyWaits_keepsTheLock() {
    mapBothSidesOf2M();

    inWalk(
        PageLevel.LEVEL_4K,
        BASE,
        BASE + 4,
        iter -> {
          iter.next();
          assertThat(iter.condResched(LockMode.SHARED)).isFalse();
        });

    assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_RESCHED)).isZero();
  }

  @Test
  void condResched_aWriterWaits_yieldsOnlyAfterProgress() {
    mapBothSidesOf2M();
    KernelThread[] writer = new KernelThread[1];
    boolean[] ran = {false};

    inWalk(
        PageLevel.LEVEL_4K,
        BASE + 0x1ff,
        BASE + 0x201,
        iter -> {
          writer[0] =
              vm.kernel()
                  .spawn(
                      "writer",
                      () -> {
                        vm.mmuLock().lock(LockMode.EXCLUSIVE);
                        ran[0] = true;
                        vm.mmuLock().unlock(LockMode.EXCLUSIVE);
                      });
          Signal.awaitUntil(vm.mmuLock()::needBreak, "a waiting writer");
          while (iter.gfn() != BASE + 0x1ff) {
            assertThat(iter.condResched(LockMode.SHARED)).isFalse();
            iter.next();
          }
          assertThat(iter.condResched(LockMode.SHARED)).isFalse();
          iter.next();

          assertThat(text(iter)).isEqualTo("L2 40200");
          assertThat(iter.condResched(LockMode.SHARED)).isTrue();
          assertThat(ran[0]).isTrue();
          assertThat(iter.hasYielded()).isTrue();
        });
    writer[0].join();

    assertThat(vm.mmu.counters().get(MmuCounter.LOCK_DROPS_RESCHED)).isEqualTo(1);
  }

  @Test
  void lastEntry_endsWhereHardwareWould() {
    mapBothSidesOf2M();

    inWalk(
        PageLevel.LEVEL_4K,
        0,
        1,
        unused -> {
          assertThat(text(TdpIter.lastEntry(vm.mmu, vm.directRoot(), BASE + 0x1ff)))
              .isEqualTo("L1 401ff");
          assertThat(text(TdpIter.lastEntry(vm.mmu, vm.directRoot(), BASE + 0x400)))
              .isEqualTo("L2 40400");
        });
  }

  @Test
  void sptePa_isWhereTheEntryLies() {
    mapBothSidesOf2M();

    inWalk(
        PageLevel.LEVEL_4K,
        BASE + 0x1ff,
        BASE + 0x200,
        iter -> {
          while (iter.level() != PageLevel.LEVEL_4K) {
            iter.next();
          }
          assertThat(iter.sptePa()).isEqualTo((iter.table().sptPfn << 12) + 0x1ff * 8);
        });
  }

  private interface Walk {
    void run(TdpIter iter);
  }

  private void inWalk(PageLevel minLevel, long start, long end, Walk walk) {
    vm.mmuLock().lock(LockMode.SHARED);
    vm.kernel().rcu().readLock();
    try {
      walk.run(new TdpIter(vm.mmu, vm.directRoot(), minLevel, start, end));
    } finally {
      vm.kernel().rcu().readUnlock();
      vm.mmuLock().unlock(LockMode.SHARED);
    }
  }

  private List<String> visited(PageLevel minLevel, long start, long end) {
    List<String> entries = new ArrayList<>();
    inWalk(
        minLevel,
        start,
        end,
        iter -> {
          for (; iter.isValid(); iter.next()) {
            entries.add(text(iter));
          }
        });
    return entries;
  }

  private List<String> wholeRootLeafs() {
    List<String> leafs = new ArrayList<>();
    inWalk(
        PageLevel.LEVEL_4K,
        0,
        1,
        unused -> {
          TdpIter iter = TdpIter.overWholeRoot(vm.mmu, vm.directRoot(), PageLevel.LEVEL_4K);
          for (; iter.isValid(); iter.next()) {
            if (vm.mmu.format().isPresentLeaf(iter.oldSpte(), iter.level())) {
              leafs.add(text(iter));
            }
          }
        });
    return leafs;
  }

  private static String text(TdpIter iter) {
    return "L%d %x".formatted(iter.level().number(), iter.gfn());
  }

  /** Splits the 2M leaf at the gfn under the read lock that is held. */
  private void splitAt(long gfn) {
    TdpIter iter = TdpIter.lastEntry(vm.mmu, vm.directRoot(), gfn);
    MmuPage table = vm.vcpu.allocPage();
    table.init(iter.table().role().child(), iter.gfn(), iter.table(), iter.index());
    SpteWriter writer = SpteWriter.forMode(vm.mmu, LockMode.SHARED);
    assertThat(HugePageSplitter.linkSplitTable(vm.mmu, writer, iter, table, SplitCause.FAULT))
        .isEqualTo(Errno.OK);
  }

  private void mapBothSidesOf2M() {
    vm.addShared(BASE, 0x400);
    vm.map(BASE + 0x1ff, TestVm.WRITE);
    vm.map(BASE + 0x200, TestVm.WRITE);
  }
}
