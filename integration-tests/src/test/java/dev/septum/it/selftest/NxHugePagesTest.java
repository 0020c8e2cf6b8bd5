package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.KernelGeneration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * {@code x86/nx_huge_pages_test}: execution splits a huge page while the mitigation is on, and the
 * recovery worker undoes it.
 *
 * <p>The mitigation is off by the module's parameter: there is no {@code
 * KVM_CAP_VM_DISABLE_NX_HUGE_PAGES}, hence no EPERM without {@code CAP_SYS_BOOT}. The worker runs
 * by hand where the program sleeps.
 */
final class NxHugePagesTest {

  private static final int SLOT = 10;
  private static final long GPA = 4 * SelftestVm.GIB;
  private static final long PAGE_1 = GPA;
  private static final long PAGE_2 = GPA + 2 * SelftestVm.MIB;
  private static final long PAGE_3 = GPA + 4 * SelftestVm.MIB;
  private static final long BYTES = 6 * SelftestVm.MIB;

  /** The program sleeps for five periods of the worker. */
  private static final int PERIODS = 5;

  /** What the program looks at: {@code pages_2m} and {@code nx_lpage_splits}. */
  private record Figures(long large, long nxSplits) {}

  @RegisterExtension final SelftestHost host = new SelftestHost();

  private SelftestVm start(KernelGeneration generation, String nxHugePages) {
    host.setParameter(generation, "nx_huge_pages", nxHugePages);
    host.setParameter(generation, "nx_huge_pages_recovery_ratio", "1");
    host.setParameter(generation, "nx_huge_pages_recovery_period_ms", "100");
    SelftestVm vm = host.newVm(generation);
    vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_2M);
    vm.withCode().addVcpu();
    return vm;
  }

  /** The guest's program is fetched from 4K pages, then makes one access. */
  private static Figures after(SelftestVm vm, AccessKind kind, long gpa) {
    SelftestVcpu vcpu = vm.vcpu(0);
    vcpu.must(AccessKind.EXEC, SelftestVm.CODE);
    vcpu.must(kind, gpa);
    vcpu.cpu().portExit();
    return figures(vm);
  }

  private static Figures figures(SelftestVm vm) {
    return new Figures(vm.stats().large(), vm.kvm().stats().get(VmStat.NX_LPAGE_SPLITS));
  }

  private Figures afterRecovery(SelftestVm vm) {
    for (int i = 0; i < PERIODS; i++) {
      vm.mmu().module().recoverNxHugePages();
    }
    return figures(vm);
  }

  @ParameterizedTest
  @EnumSource
  void withTheMitigation_executionSplits_andRecoveryGivesTheHugePagesBack(
      KernelGeneration generation) {
    SelftestVm vm = start(generation, "1");
    assertThat(figures(vm)).isEqualTo(new Figures(0, 0));
    assertThat(after(vm, AccessKind.READ, PAGE_1)).isEqualTo(new Figures(1, 0));
    assertThat(after(vm, AccessKind.READ, PAGE_2)).isEqualTo(new Figures(2, 0));

    assertThat(after(vm, AccessKind.EXEC, PAGE_1)).isEqualTo(new Figures(1, 1));
    assertThat(vm.leafs(PAGE_1, 2 * SelftestVm.MIB))
        .hasSize(512)
        .allMatch(leaf -> vm.mmu().format().isExecutable(leaf.spte()));

    assertThat(after(vm, AccessKind.EXEC, PAGE_3)).isEqualTo(new Figures(1, 2));
    assertThat(vm.leafs(PAGE_3, 2 * SelftestVm.MIB))
        .singleElement()
        .matches(leaf -> leaf.gfn() == PAGE_3 >>> 12 && leaf.level() == PageLevel.LEVEL_4K);
    assertThat(after(vm, AccessKind.READ, PAGE_1)).isEqualTo(new Figures(1, 2));

    assertThat(afterRecovery(vm)).isEqualTo(new Figures(1, 0));
    assertThat(vm.leafs(GPA, BYTES))
        .singleElement()
        .matches(
            leaf -> leaf.gfn() == PAGE_2 >>> 12 && !vm.mmu().format().isExecutable(leaf.spte()));

    assertThat(after(vm, AccessKind.READ, PAGE_3)).isEqualTo(new Figures(2, 0));
  }

  @ParameterizedTest
  @EnumSource
  void withoutTheMitigation_hugePagesAreExecuted(KernelGeneration generation) {
    SelftestVm vm = start(generation, "0");
    assertThat(figures(vm)).isEqualTo(new Figures(0, 0));
    assertThat(after(vm, AccessKind.READ, PAGE_1)).isEqualTo(new Figures(1, 0));
    assertThat(after(vm, AccessKind.READ, PAGE_2)).isEqualTo(new Figures(2, 0));
    assertThat(after(vm, AccessKind.EXEC, PAGE_1)).isEqualTo(new Figures(2, 0));
    assertThat(after(vm, AccessKind.EXEC, PAGE_3)).isEqualTo(new Figures(3, 0));
    assertThat(after(vm, AccessKind.READ, PAGE_1)).isEqualTo(new Figures(3, 0));
    assertThat(afterRecovery(vm)).isEqualTo(new Figures(3, 0));
    assertThat(after(vm, AccessKind.READ, PAGE_3)).isEqualTo(new Figures(3, 0));
    assertThat(vm.leafs(GPA, BYTES))
        .hasSize(3)
        .allMatch(leaf -> vm.mmu().format().isExecutable(leaf.spte()));
  }

  @ParameterizedTest
  @EnumSource
  void switchingTheMitigationOn_zapsWhatWasMapped_andNeverCannotBeSetNow(
      KernelGeneration generation) {
    SelftestVm vm = start(generation, "0");
    assertThat(after(vm, AccessKind.EXEC, PAGE_1)).isEqualTo(new Figures(1, 0));
    assertThat(vm.mmu().module().setParameter("nx_huge_pages", "never")).isEqualTo(Errno.EBUSY);

    host.setParameter(generation, "nx_huge_pages", "force");

    assertThat(figures(vm)).isEqualTo(new Figures(0, 0));
    assertThat(after(vm, AccessKind.EXEC, PAGE_1)).isEqualTo(new Figures(0, 1));
  }

  @Test
  void theScriptsPeriod_isWhatTheWorkerSleeps() {
    SelftestVm vm = start(KernelGeneration.LINUX_7_1, "1");
    assertThat(vm.mmu().module().nxRecoveryPeriodMs()).isEqualTo(100);
  }
}
