package dev.septum.it.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.TouchMemory;
import dev.septum.tdx.module.AccessKind;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** That whole VMs live under the scheduled kernel: built, run, taken down, the same every time. */
class WholeVmSchedulesTest {

  /** Guests on two vCPUs, and user space that takes memory away under them. */
  private static Scene td(ScheduledKernel kernel) {
    TdScene td = TdScene.of(kernel, PageLevel.LEVEL_2M).accepted2M();
    long touched = TdScene.GFN << 12;
    AcceptMemory accept = new AcceptMemory(0x1000, 0x3000, AcceptMemory.Order.ACCEPT_FIRST);
    return td.actor(
            "vCPU 0", () -> td.run(0, new TouchMemory(touched, touched + 1, AccessKind.WRITE)))
        .actor("vCPU 1", () -> td.run(1, accept))
        .actor("VMM", () -> td.setAttributes(TdScene.GFN + 16, 1, false))
        .then("leafs", td::leafs)
        .then("EPT violations", () -> td.count(TdxCounter.PRIVATE_EPT_VIOLATIONS))
        .then("kicks", () -> td.count(TdxCounter.KICKS));
  }

  private static Scene ordinary(ScheduledKernel kernel) {
    VmScene vm = new VmScene(kernel, PageLevel.LEVEL_2M);
    return vm.actor("vCPU 0", () -> vm.access(0, dev.septum.mmu.AccessKind.WRITE, VmScene.GFN))
        .actor("vCPU 1", () -> vm.access(1, dev.septum.mmu.AccessKind.WRITE, VmScene.GFN + 1))
        .actor("VMM", () -> vm.logDirtyPages(true))
        .then("leafs", vm::leafs);
  }

  private static void assertRuns(Function<ScheduledKernel, Scene> setting) {
    Set<String> ends = new ConcurrentSkipListSet<>();
    Program program = kernel -> ends.add(setting.apply(kernel).play());
    Exploration exploration = Exploration.of(program).pagesAreAlike().mostSchedules(200);
    assertThat(exploration.random(1).failures()).isEmpty();
    assertThat(exploration.pct(1, 3).failures()).isEmpty();
    assertThat(ends).hasSizeGreaterThan(1);
  }

  @Test
  void aTd_livesUnderRandomSchedules() {
    assertRuns(WholeVmSchedulesTest::td);
  }

  @Test
  void anOrdinaryVm_livesUnderRandomSchedules() {
    assertRuns(WholeVmSchedulesTest::ordinary);
  }
}
