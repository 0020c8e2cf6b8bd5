package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.PageLevel;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Finding F2: aging that takes no lock meets a table that is being taken down. */
class AgingOfARemovedTableTest {

  private static final long GFN = 0x40000;

  private TestVm vm = TestVm.ordinary();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  @ParameterizedTest
  @CsvSource({"true, 80000000000004a0", "false, 8000000000000580"})
  void entryFrozenBeforeTheBitIsCleared_isNoLongerFrozen(boolean ept, String left) {
    vm.assertSoundAndDestroy();
    vm = ept ? TestVm.ordinary() : TestVm.npt();
    vm.addShared(GFN, 0x200);
    vm.map(GFN, TestVm.WRITE);
    EntryTable removed =
        vm.at(vm.directRoot(), GFN, PageLevel.LEVEL_4K, LockMode.SHARED, i -> i.table().spt());
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    // Another vCPU's fault replaces the table by a huge leaf, after aging has read its entry.
    vm.hooks.onExchange(() -> vm.map(GFN + 1, TestVm.WRITE));

    assertThat(vm.mmu.notifier().clearYoung(GFN << 12, (GFN + 1) << 12)).isTrue();

    assertThat(removed.get(0)).isEqualTo(Long.parseUnsignedLong(left, 16));
    assertThat(removed.get(1)).isEqualTo(SpteFormat.FROZEN);
    assertThat(vm.leafCounts()).containsExactly(0L, 1L, 0L);
  }
}
