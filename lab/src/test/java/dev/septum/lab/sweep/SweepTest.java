package dev.septum.lab.sweep;

import static dev.septum.lab.sweep.TestFlows.SHARE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kvm.KvmBackend;
import dev.septum.lab.Progress;
import dev.septum.lab.TestBackends;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.sweep.SweepReport.FlowReport;
import dev.septum.lab.sweep.SweepReport.Row;
import java.util.List;
import org.junit.jupiter.api.Test;

class SweepTest {

  private static SweepReport sweep(KvmBackend backend, long pairs, long seed) throws Exception {
    return new Sweep(backend, pairs, seed, Progress.OFF).run(List.of(TestFlows.file(SHARE)));
  }

  @Test
  void theSoundDesign_isCleanAlone_andInPairs() throws Exception {
    SweepReport report = sweep(TestBackends.SOUND, 400, 7);

    assertThat(report.held()).isTrue();
    FlowReport flow = report.flows().get(0);
    assertThat(flow.findings()).isEmpty();
    assertThat(flow.points()).isEqualTo(17);
    assertThat(flow.singles()).isEqualTo(48);
    assertThat(flow.pairs()).isEqualTo(400);
    assertThat(flow.pairsInAll()).isGreaterThan(1000);
    assertThat(report.runs()).isEqualTo(1 + 48 + 400);
    assertThat(flow.rows())
        .contains(
            new Row("pamt_cache", "fail", "ENOMEM", 4),
            new Row("TDH_MEM_PAGE_DEMOTE", "busy-twice", "EBUSY", 1));
    assertThat(flow.rows().stream().mapToLong(Row::runs).sum()).isEqualTo(48);
  }

  @Test
  void thePostedDesign_isNot_andEachFindingHasItsPlan() throws Exception {
    SweepReport report = sweep(TestBackends.POSTED_V3, 0, 1);

    assertThat(report.held()).isFalse();
    assertThat(report.flows().get(0).findings())
        .extracting(group -> group.plan() + ": " + group.text())
        .contains(
            "kvm_mmu_page_header#1=fail: VM 1: the mirror leaf at gfn 0x200 maps shared frames",
            "TDH_MEM_PAGE_DEMOTE#1=busy: the VM is bugged: SEAMCALL TDH_MEM_PAGE_DEMOTE failed:"
                + " TDX_SW_ERROR");
    assertThat(SweepText.of(report, ""))
        .contains(
            "septum sweep --backend tdx-v3 --plan TDH_MEM_PAGE_DEMOTE#1=busy flow.yaml",
            "kind(s) of findings.");
  }

  @Test
  void theSameSeed_choosesTheSamePairs() throws Exception {
    SweepReport first = sweep(TestBackends.POSTED_V3, 60, 3);

    assertThat(sweep(TestBackends.POSTED_V3, 60, 3)).isEqualTo(first);
    assertThat(sweep(TestBackends.POSTED_V3, 60, 4)).isNotEqualTo(first);
  }

  @Test
  void aPhaseWithThreads_cannotBeSwept() throws Exception {
    assertThatThrownBy(
            () ->
                Sweep.phasesOf(
                    TestBackends.read(
                        "threads.yaml",
                        """
                        scenario: Threads
                        vms: {td: {}}
                        phases:
                          - concurrently:
                              a: [{topup-split-cache: true}]
                        """)))
        .isInstanceOf(ScenarioException.class)
        .hasMessage(
            "threads.yaml:4: a phase with concurrently cannot be swept: its steps have no order");
  }

  @Test
  void phasesThatSaySo_areSwept_elseTheLastOne() throws Exception {
    String text =
        """
        scenario: Three phases
        vms: {td: {}}
        phases:
          - steps: [{topup-split-cache: true}]
          - steps: [{topup-split-cache: true}]
            %s
          - steps: [{topup-split-cache: true}]
        """;
    assertThat(Sweep.phasesOf(TestBackends.read("a", text.formatted("sweep: true"))))
        .containsExactly(1);
    assertThat(Sweep.phasesOf(TestBackends.read("a", text.formatted("name: x"))))
        .containsExactly(2);
  }
}
