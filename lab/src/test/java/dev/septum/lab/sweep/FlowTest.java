package dev.septum.lab.sweep;

import static dev.septum.lab.sweep.TestFlows.SHARE;
import static dev.septum.lab.sweep.TestFlows.flow;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.lab.TestBackends;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.mmu.SplitDesign;
import dev.septum.tdx.TdxDesign;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FlowTest {

  @Test
  void points_areTheFlowsOwn_inTheirOrder() throws Exception {
    assertThat(flow(TestBackends.SOUND, SHARE).points())
        .extracting(Point::toString)
        .containsExactly(
            "kvm_mmu_page_header#1",
            "mmu_page_table#1",
            "external_page_table#1",
            "pamt_cache#1",
            "pamt_cache#2",
            "pamt_cache#3",
            "pamt_cache#4",
            "pamt_lock#1",
            "TDH_PHYMEM_PAMT_ADD#1",
            "TDH_MEM_RANGE_BLOCK#1",
            "TDH_MEM_TRACK#1",
            "pamt_lock#2",
            "TDH_MEM_PAGE_DEMOTE#1",
            "TDH_MEM_RANGE_BLOCK#2",
            "TDH_MEM_TRACK#2",
            "TDH_MEM_PAGE_REMOVE#1",
            "TDH_PHYMEM_PAGE_WBINVD#1");
  }

  @ParameterizedTest
  @CsvSource({
    "mmu_page_table#1=fail, ENOMEM",
    "pamt_cache#3=fail, ENOMEM",
    "TDH_MEM_RANGE_BLOCK#1=busy, absorbed",
    "TDH_MEM_RANGE_BLOCK#1=busy-twice, EBUSY",
    "TDH_MEM_TRACK#1=interrupted, EIO",
    "TDH_MEM_PAGE_DEMOTE#1=contended, absorbed",
    "TDH_MEM_PAGE_DEMOTE#1=refused, EIO",
    "TDH_PHYMEM_PAMT_ADD#1=not-free, EIO",
    "pamt_lock#1=lost-race, absorbed",
    "TDH_MEM_PAGE_REMOVE#1=refused, 'bugged: SEAMCALL TDH_MEM_PAGE_REMOVE failed, pages are lost'",
    "'TDH_MEM_PAGE_DEMOTE#1=refused,TDH_PHYMEM_PAMT_REMOVE#1=busy', 'EIO, a page pair stays'"
  })
  void theSoundDesign_undoesAFailedSplit_andTheNextTrySucceeds(String plan, String kind)
      throws Exception {
    Outcome outcome = flow(TestBackends.SOUND, SHARE).run(Plan.parse(plan));

    assertThat(outcome.findings()).isEmpty();
    assertThat(outcome.kind()).isEqualTo(kind);
    assertThat(outcome.wasDisturbed()).isTrue();
  }

  @Test
  void aPointThatTheFlowDoesNotPass_isSaid() throws Exception {
    Outcome outcome = flow(TestBackends.SOUND, SHARE).run(Plan.parse("pamt_cache#9=fail"));

    assertThat(outcome.wasDisturbed()).isFalse();
    assertThat(outcome.kind()).isEqualTo(Outcome.ABSORBED);
  }

  @Test
  void aGuestsFlow_isRunAgainFromItsBeginning() throws Exception {
    Outcome outcome =
        flow(TestBackends.SOUND, "{vcpu: 0, accept: 4M+8K}")
            .run(Plan.parse("TDH_MEM_PAGE_AUG#2=busy-twice"));

    assertThat(outcome.findings()).isEmpty();
  }

  // The alarms: each of them fires.

  @Test
  void anErrorThatIsLost_isFoundInTheInvariants() throws Exception {
    assertThat(
            flow(TestBackends.POSTED_V3, SHARE).run(Plan.parse("mmu_page_table#1=fail")).findings())
        .containsExactly(
            "VM 1: the mirror leaf at gfn 0x200 maps shared frames",
            "in the end there is another state than undisturbed: private memory of td");
  }

  @Test
  void aVmThatIsBuggedWithoutNeed_isFound() throws Exception {
    Flow flow = flow(TestBackends.POSTED_V3, SHARE);

    assertThat(flow.run(Plan.parse("TDH_MEM_PAGE_DEMOTE#1=busy")).findings())
        .containsExactly("the VM is bugged: SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_SW_ERROR");
    assertThat(flow.run(Plan.parse("TDH_PHYMEM_PAMT_ADD#1=refused")).findings())
        .containsExactly(
            "the VM is bugged: SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_MISSING_PAMT_PAGE_PAIR"
                + " | R8 (0x8000030800000008)");
  }

  @Test
  void aStepThatNeverSucceeds_isFound() throws Exception {
    Flow flow = flow(TestBackends.SOUND, SHARE);
    Plan all =
        Plan.parse(
            "mmu_page_table#1=fail,mmu_page_table#2=fail,mmu_page_table#3=fail"
                + ",mmu_page_table#4=fail,mmu_page_table#5=fail");

    assertThat(flow.run(all).findings())
        .containsExactly(
            "still ENOMEM when it is done for the 5th time",
            "in the end there is another state than undisturbed: attributes of td, private memory"
                + " of td");
  }

  @Test
  void aFailureThatChangedMemory_isFound() throws Exception {
    // As posted, with the error of D1 returned: the first slot is zapped when the second one fails.
    TdxDesign errorsReturned =
        TdxDesign.POSTED_V3.withMmu(
            TdxDesign.POSTED_V3.mmu().withErrors(SplitDesign.Errors.RETURNED));
    ScenarioFile file =
        TestBackends.read(
            "two.yaml",
            """
            scenario: Two slots
            host: {memory: 2G, placement: scattered}
            files: {ram: {size: 4M}}
            vms:
              td:
                slots:
                  - {slot: 1, gpa: 0, size: 2M, file: ram}
                  - {slot: 2, gpa: 2M, size: 2M, file: ram, offset: 2M}
            phases:
              - steps: [{vcpu: 0, accept: 0+4M}]
              - steps: [{set-attributes: 0x1ff000..0x201000, to: shared}]
            """);

    Outcome outcome =
        new Flow(file, TestBackends.of(errorsReturned), 1).run(Plan.parse("mmu_page_table#2=fail"));

    assertThat(outcome.findings()).contains("ENOMEM, and yet it changed: private memory of td");
  }
}
