package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.PageLevel;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class MmuViewTest {

  private static final long GFN = 0x40000;

  private TestVm vm = TestVm.npt();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  @Test
  void dump_putsLikeLeafsOnOneLine() {
    vm.addShared(GFN, 0x600);
    for (long gfn : new long[] {0, 1, 2, 4}) {
      vm.map(GFN + gfn, TestVm.WRITE);
    }
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.map(GFN + 0x200, TestVm.WRITE);
    vm.map(GFN + 0x400, TestVm.WRITE);
    assertThat(vm.fault(GFN + 0x600, TestVm.READ)).isEqualTo(FaultOutcome.of(RetPf.EMULATE));

    assertThat(withoutTablePfns(vm.view.dump()))
        .isEqualTo(
            """
            root level=4
            table L4 gfn=0x0
            table L3 gfn=0x40000
            table L2 gfn=0x40000
            leaf L1 gfn=0x40000 n=3 spte=0x0000000040000e67
            leaf L1 gfn=0x40004 n=1 spte=0x0000000040004e67
            leaf L2 gfn=0x40200 n=2 spte=0x0000000040200ee7
            table L2 gfn=0x40600
            nonpresent L1 gfn=0x40600 spte=0x0008000040600017
            total tables(incl root)=5 leaf4k=4 leaf2m=2 leaf1g=0
            """);
  }

  @Test
  void dump_ofFrozenEntries_showsThem() {
    vm.addShared(GFN, 2);
    vm.map(GFN, TestVm.WRITE);
    vm.corrupt(vm.directRoot(), GFN + 1, PageLevel.LEVEL_4K, SpteFormat.FROZEN);

    assertThat(vm.view.dump())
        .contains(
            """
            leaf L1 gfn=0x40000 n=1 spte=0x0000000040000e67
            nonpresent L1 gfn=0x40001 spte=0x80000000000005a0
            """);
    vm.corrupt(vm.directRoot(), GFN + 1, PageLevel.LEVEL_4K, SpteFormat.NONPRESENT);
  }

  @Test
  void counts_coverBothKindsOfRoots() {
    vm.assertSoundAndDestroy();
    vm = TestVm.td();
    vm.addPrivate(GFN, 1, PageLevel.LEVEL_4K);
    vm.addShared(2 * GFN, 1);
    vm.map(GFN, TestVm.PRIVATE_WRITE);
    vm.map((2 * GFN) | TestVm.SHARED_BIT, TestVm.WRITE);

    assertThat(vm.view.tables()).isEqualTo(8);
    assertThat(vm.view.mirrorTables()).hasSize(3);
    assertThat(vm.view.cachedTables()).isEqualTo(40 - 8);
    assertThat(vm.view.mirrorLeafs()).extracting(MappedLeaf::gfn).containsExactly(GFN);
    assertThat(vm.view.directLeafs()).extracting(MappedLeaf::gfn).containsExactly(2 * GFN);
  }

  private static String withoutTablePfns(String dump) {
    return dump.replaceAll("root hpa=\\S+", "root").replaceAll("(table .*) spte=\\S+", "$1");
  }
}
