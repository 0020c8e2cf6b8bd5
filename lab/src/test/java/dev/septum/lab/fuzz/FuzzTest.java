package dev.septum.lab.fuzz;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.KvmBackend;
import dev.septum.lab.Progress;
import dev.septum.lab.TestBackends;
import dev.septum.lab.fuzz.FuzzReport.Found;
import org.junit.jupiter.api.Test;

class FuzzTest {

  private static FuzzReport fuzz(KvmBackend backend, long seed, long runs) {
    return new Fuzz(backend, 12).run(seed, runs, Progress.OFF);
  }

  @Test
  void everyScenario_isOneThatCanBeRead() throws Exception {
    for (long seed = 0; seed < 200; seed++) {
      RandomScenario scenario = RandomScenario.of(seed, 20, TestBackends.SOUND);
      assertThat(TestBackends.read("random", scenario.text()).scenario().phases()).hasSize(20);
      assertThat(RandomScenario.of(seed, 20, TestBackends.SOUND)).isEqualTo(scenario);
    }
  }

  @Test
  void theSoundDesign_survives() {
    FuzzReport report = fuzz(TestBackends.SOUND, 1, 120);

    assertThat(report.findings()).isEmpty();
    assertThat(report.held()).isTrue();
    assertThat(report.text())
        .isEqualTo(
            """
            backend tdx: 120 scenario(s) of 12 steps, seeds 1 to 120
            Nothing was found.
            """);
  }

  @Test
  void aBackendWithoutModule_survives_andOnlyAllocationsFail() {
    RandomScenario scenario = RandomScenario.of(1, 200, TestBackends.REFERENCE);
    assertThat(scenario.text())
        .contains("backends: [reference]", "inject: {allocation: ")
        .doesNotContain("seamcall");
    assertThat(fuzz(TestBackends.REFERENCE, 1, 120).text())
        .isEqualTo(
            """
            backend reference: 120 scenario(s) of 12 steps, seeds 1 to 120
            Nothing was found.
            """);
  }

  @Test
  void thePostedDesign_doesNot_andTheScenarioIsShortened() {
    FuzzReport report = fuzz(TestBackends.POSTED_V3, 3, 1);

    assertThat(report.held()).isFalse();
    Found found = report.findings().get(0);
    assertThat(found.text())
        .startsWith("KVM_BUG_ON(SEAMCALL TDH_MEM_SEPT_ADD failed: TDX_MISSING_PAMT_PAGE_PAIR | R8");
    assertThat(found.scenario().lines().filter(line -> line.startsWith("  - steps:")))
        .containsExactly(
            "  - steps: [{inject: {seamcall: TDH_PHYMEM_PAMT_ADD, status: TDX_OPERAND_INVALID,"
                + " times: 2}}, {vcpu: 1, accept: 0x88000..0x288000, returns: any},"
                + " {stop-injecting: true}]");
    assertThat(fuzz(TestBackends.POSTED_V3, 3, 1)).isEqualTo(report);
    assertThat(fuzz(TestBackends.SOUND, 3, 1).held()).isTrue();
  }
}
