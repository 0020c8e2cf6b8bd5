package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kvm.Errno;
import dev.septum.kvm.VmStat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class KvmModuleTest {

  private final KvmModule module = new KvmModule(Kernel.host(), KernelGeneration.LINUX_7_1);

  private Errno set(String name, String value) {
    return module.setParameter(name, value);
  }

  private void assertParameter(String name, String value) {
    assertThat(module.parameter(name)).contains(value);
  }

  @Test
  void defaults_areTheKernels() {
    assertParameter("eager_page_split", "Y");
    assertParameter("nx_huge_pages", "N");
    assertParameter("nx_huge_pages_recovery_ratio", "60");
    assertParameter("nx_huge_pages_recovery_period_ms", "0");
    assertThat(module.generation()).isEqualTo(KernelGeneration.LINUX_7_1);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tdp_mmu", "EAGER_PAGE_SPLIT", ""})
  void unknownParameter_isEnoent(String name) {
    assertThat(set(name, "1")).isEqualTo(Errno.ENOENT);
    assertThat(module.parameter(name)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"Y", "y", "1", "T", "t", "on", "ON", "yes", "1000"})
  void flag_on(String value) {
    assertThat(set("eager_page_split", "0")).isEqualTo(Errno.OK);

    assertThat(set("eager_page_split", value)).isEqualTo(Errno.OK);

    assertParameter("eager_page_split", "Y");
    assertThat(module.isEagerPageSplit()).isTrue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"N", "n", "0", "F", "f", "off", "oF", "nope"})
  void flag_off(String value) {
    assertThat(set("eager_page_split", value)).isEqualTo(Errno.OK);

    assertParameter("eager_page_split", "N");
    assertThat(module.isEagerPageSplit()).isFalse();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "2", "o", "ox", " 1"})
  void flag_neither_isEinvalAndChangesNothing(String value) {
    assertThat(set("eager_page_split", value)).isEqualTo(Errno.EINVAL);

    assertParameter("eager_page_split", "Y");
  }

  @ParameterizedTest
  @CsvSource({"0, 0", "7, 7", "0x10, 16", "4294967295, 4294967295"})
  void number_inAnyBase(String value, String printed) {
    assertThat(set("nx_huge_pages_recovery_ratio", value)).isEqualTo(Errno.OK);
    assertThat(set("nx_huge_pages_recovery_period_ms", value)).isEqualTo(Errno.OK);

    assertParameter("nx_huge_pages_recovery_ratio", printed);
    assertParameter("nx_huge_pages_recovery_period_ms", printed);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "-1", "4294967296", "1.5", "ten"})
  void number_thatIsNone_isEinvalAndChangesNothing(String value) {
    assertThat(set("nx_huge_pages_recovery_ratio", value)).isEqualTo(Errno.EINVAL);

    assertParameter("nx_huge_pages_recovery_ratio", "60");
  }

  @ParameterizedTest
  @CsvSource({"force, Y", "off, N", "auto, N", "1, Y", "n, N"})
  void nxHugePages_takesWordsAndFlags(String value, String printed) {
    assertThat(set("nx_huge_pages", value)).isEqualTo(Errno.OK);

    assertParameter("nx_huge_pages", printed);
  }

  @Test
  void nxHugePages_anythingElse_isEinval() {
    assertThat(set("nx_huge_pages", "x")).isEqualTo(Errno.EINVAL);
    assertParameter("nx_huge_pages", "N");
  }

  @Test
  void never_forbidsEveryLaterWriteOfTheMitigation() {
    assertThat(set("nx_huge_pages", "force")).isEqualTo(Errno.OK);

    assertThat(set("nx_huge_pages", "never")).isEqualTo(Errno.OK);

    assertParameter("nx_huge_pages", "never");
    assertThat(module.isNxHugePages()).isFalse();
    for (String value : new String[] {"off", "never", "x"}) {
      assertThat(set("nx_huge_pages", value)).isEqualTo(Errno.EPERM);
    }
    assertThat(set("nx_huge_pages_recovery_ratio", "1")).isEqualTo(Errno.EPERM);
    assertThat(set("nx_huge_pages_recovery_period_ms", "1")).isEqualTo(Errno.EPERM);
    assertParameter("nx_huge_pages_recovery_ratio", "60");
    assertThat(set("eager_page_split", "N")).isEqualTo(Errno.OK);
  }

  @Test
  void never_isEbusyWhileThereIsAVm() {
    TestVm vm = TestVm.ordinary();
    assertThat(vm.mmu.module().setParameter("nx_huge_pages", "never")).isEqualTo(Errno.EBUSY);
    assertThat(vm.mmu.module().parameter("nx_huge_pages")).contains("N");

    vm.assertSoundAndDestroy();

    assertThat(vm.mmu.module().setParameter("nx_huge_pages", "never")).isEqualTo(Errno.OK);
  }

  @Test
  void nxHugePages_aChange_zapsTheRootsOfEveryVm_andNothingElseDoes() {
    TestVm vm = TestVm.ordinary();
    vm.addShared(0x40000, 1);
    vm.map(0x40000, TestVm.READ);
    vm.events.clear();

    vm.setParameter("nx_huge_pages", "off");
    assertThat(vm.takeEvents()).isEmpty();

    vm.setParameter("nx_huge_pages", "force");
    assertThat(vm.takeEvents()).contains("kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0");
    assertThat(vm.leafCounts()).containsExactly(0L, 0L, 0L);
    assertThat(vm.stats().get(VmStat.REMOTE_TLB_FLUSH_REQUESTS)).isZero();

    vm.setParameter("nx_huge_pages", "1");
    assertThat(vm.takeEvents()).isEmpty();
    vm.assertSoundAndDestroy();
  }

  @ParameterizedTest
  @CsvSource({
    "Y, 60, 0, 60000",
    "Y, 3600, 0, 1000",
    "Y, 7200, 0, 1000",
    "Y, 1, 0, 3600000",
    "Y, 60, 5, 5",
    "Y, 0, 5, 0",
    "N, 60, 5, 0"
  })
  void recoveryPeriod(String nx, String ratio, String period, long expected) {
    assertThat(set("nx_huge_pages", nx)).isEqualTo(Errno.OK);
    assertThat(set("nx_huge_pages_recovery_ratio", ratio)).isEqualTo(Errno.OK);
    assertThat(set("nx_huge_pages_recovery_period_ms", period)).isEqualTo(Errno.OK);

    assertThat(module.nxRecoveryPeriodMs()).isEqualTo(expected);
  }
}
