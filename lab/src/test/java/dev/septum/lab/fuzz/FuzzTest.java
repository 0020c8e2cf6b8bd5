package dev.septum.lab.fuzz;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.lab.Progress;
import dev.septum.lab.fuzz.FuzzReport.Found;
import dev.septum.lab.scenario.ScenarioReader;
import dev.septum.tdx.TdxDesign;
import org.junit.jupiter.api.Test;

class FuzzTest {

  private static FuzzReport fuzz(TdxDesign design, long seed, long runs) {
    return new Fuzz(design, 12, Progress.OFF).run(seed, runs);
  }

  @Test
  void everyScenario_isOneThatCanBeRead() throws Exception {
    for (long seed = 0; seed < 200; seed++) {
      RandomScenario scenario = RandomScenario.of(seed, 20);
      assertThat(ScenarioReader.read("random", scenario.text()).scenario().phases()).hasSize(20);
      assertThat(RandomScenario.of(seed, 20)).isEqualTo(scenario);
    }
  }

  @Test
  void theSoundDesign_survives() {
    FuzzReport report = fuzz(TdxDesign.SOUND, 1, 120);

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
  void thePostedDesign_doesNot_andTheScenarioIsShortened() {
    FuzzReport report = fuzz(TdxDesign.POSTED_V3, 3, 1);

    assertThat(report.held()).isFalse();
    Found found = report.findings().get(0);
    assertThat(found.text())
        .startsWith("KVM_BUG_ON(SEAMCALL TDH_MEM_SEPT_ADD failed: TDX_MISSING_PAMT_PAGE_PAIR | R8");
    assertThat(found.scenario().lines().filter(line -> line.startsWith("  - steps:")))
        .containsExactly(
            "  - steps: [{inject: {seamcall: TDH_PHYMEM_PAMT_ADD, status: TDX_OPERAND_INVALID,"
                + " times: 2}}, {vcpu: 1, accept: 0x88000..0x288000, returns: any},"
                + " {stop-injecting: true}]");
    assertThat(fuzz(TdxDesign.POSTED_V3, 3, 1)).isEqualTo(report);
    assertThat(fuzz(TdxDesign.SOUND, 3, 1).held()).isTrue();
  }
}
