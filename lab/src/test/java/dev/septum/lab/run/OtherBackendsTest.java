package dev.septum.lab.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.lab.TestBackends;
import dev.septum.lab.scenario.ScenarioException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Scenarios on backends without a TDX module. */
class OtherBackendsTest {

  private static final String VM =
      """
      scenario: x
      backends: [reference]
      host: {memory: 1G}
      files: {ram: {size: 8M}}
      vms:
        vm: {vcpus: 2, slots: [{slot: 1, gpa: 0, size: 8M, file: ram}]}
      phases:
      """;

  private static final String FIVE_LEVELS = VM.replace("vcpus: 2,", "vcpus: 2, levels: 5,");

  private static RunReport run(String setUp, String... phases) throws ScenarioException {
    return Examples.run(setUp + String.join("", phases));
  }

  private static String phase(String steps, String expect) {
    return "  - steps: [%s]\n    expect: [%s]\n".formatted(steps, expect);
  }

  private static void assertHeld(RunReport report) {
    assertThat(Examples.findings(report)).isEmpty();
    assertThat(report.backend()).isEqualTo("reference");
  }

  @Test
  void aGuest_acceptsAtBothLevels_andWhatItTouchesIsMapped() throws Exception {
    assertHeld(
        run(
            VM,
            phase(
                "{vcpu: 0, accept: 0..2M}, {vcpu: 0, accept: 2M+8K, at: 4K}",
                "{private: {0..2M: 2M accepted, 2M+8K: 4K accepted}, nothing-else: true,"
                    + " inhibited: {2M+2M: true}}"),
            phase(
                "{vcpu: 1, accept: 4M+2M, touch-first: true}, {vcpu: 1, write: 6M+8K}",
                "{private: {4M..8M: 2M}, stats: {pages_2m: 3}}"),
            phase(
                "{vcpu: 0, accept: 4M+4K, at: 4K}",
                "{private: {4M+2M: 4K}, growth: {split_guest_accept: 1}}")));
  }

  @ParameterizedTest
  @ValueSource(strings = {VM, "five"})
  void sharedAndPrivateMemory_areTwoRoots(String setUp) throws Exception {
    assertHeld(
        run(
            setUp.equals(VM) ? VM : FIVE_LEVELS,
            phase(
                    "{vcpu: 0, read: 0..8K, as: private}, {vcpu: 0, execute: 0+4K, as: shared},"
                        + " {vcpu: 0, write: 4M+8K, every: 4K}",
                    "{private: {0..2M: 4K, 4M..6M: 2M}, shared: {0+4K: 4K}, nothing-else: true}")
                .replace("{0..2M: 4K", "{0+4K: none, 4K..2M: 4K")));
  }

  @Test
  void anExitThatIsWanted_endsTheStep() throws Exception {
    assertHeld(
        run(
            VM,
            phase(
                "{vcpu: 0, read: 2M+4K, as: shared, returns: memory-fault, exit-range: 2M+4K,"
                    + " exit-kind: shared}, {vcpu: 0, convert: 1M+4M, to: shared, returns: map-gpa,"
                    + " exit-range: 1M+2M, exit-kind: shared}",
                "{private: {0..8M: none}, shared: {0..8M: none}, attributes: {0..8M: private}}"),
            phase(
                "{vcpu: 0, convert: 1M+4M, to: shared}, {vcpu: 0, read: 8M+4K," + " returns: mmio}",
                "{attributes: {0..1M: private, 1M..5M: shared, 5M..8M: private}}")));
  }

  @Test
  void theVmm_preFaults_splits_convertsAndPunches() throws Exception {
    assertHeld(
        run(
            VM,
            phase(
                "{vcpu: 0, pre-fault: 0..4M, left: 0}, {split: 4K..2M}, {topup-split-cache: true}",
                "{private: {0..2M: 4K, 2M..4M: 2M}, stats: {split_cache: 0}}"),
            phase(
                "{convert: 2M+4K, to: shared}, {vcpu: 0, write: 2M+4K}, {discard: 2M+4K},"
                    + " {punch-hole: 0+4K}, {add-slot: {slot: 2, gpa: 1G, size: 4K}},"
                    + " {delete-slot: 2}",
                "{private: {0+4K: none, 4K..2M: 4K, 2M+4K: none}, shared: {2M+4K: none},"
                    + " allocated: {ram: 1022}}"),
            phase("{destroy: true}", "{pages: {sept_page: 0, external_page_table: 0}}")));
  }

  @Test
  void anAllocationThatFails_changesNothing() throws Exception {
    assertHeld(
        run(
            VM,
            phase("{vcpu: 0, accept: 0..2M}", ""),
            phase(
                "{inject: {allocation: external_page_table}}, {set-attributes: 0+4K, to: shared,"
                    + " returns: ENOMEM}",
                "{private: {0..2M: 2M}, attributes: {0..2M: private}}"),
            phase("{set-attributes: 0+4K, to: shared}", "{private: {0+4K: none, 4K..2M: 4K}}")));
  }

  @Test
  void severalVmsAndActors_shareAFile() throws Exception {
    assertHeld(
        run(
            VM.replace(
                "phases:",
                """
                  two: {slots: [{slot: 1, gpa: 0, size: 8M, file: ram}]}
                  plain: {type: default, slots: [{slot: 1, gpa: 0, size: 4M}]}
                phases:"""),
            """
              - concurrently:
                  a: [{vcpu: vm/0, accept: 0..4M}]
                  b: [{vcpu: two/0, accept: 4M..8M}]
                  c: [{vcpu: plain/0, write: 0..1M}]
            """,
            phase(
                "{punch-hole: 0..8M}",
                "{vm: vm, private: {0..8M: none}}, {vm: two, private: {0..8M: none}},"
                    + " {vm: plain, shared: {0..1M: 4K}, nothing-else: true},"
                    + " {allocated: {ram: 0}}")));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "dirty_log_page_splitting",
        "guest_memfd",
        "memslot_deletion",
        "nx_huge_pages",
        "pre_fault_memory",
        "private_mem_conversions",
        "private_mem_kvm_exits"
      })
  void selftests_ofOrdinaryVms_holdOnEveryBackend(String name) throws Exception {
    for (String backend : TestBackends.names()) {
      RunReport report =
          Examples.run(TestBackends.read(Examples.DIRECTORY.resolve(name + ".yaml")), backend);
      assertThat(Examples.findings(report)).as(backend).isEmpty();
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{inject: {seamcall: TDH_MEM_TRACK}} | | s.yaml:8: phases[0].steps[0].inject.seamcall:"
            + " backend reference makes no SEAMCALLs that could fail",
        "{steps: {inject: {seamcall: TDH_MEM_TRACK}}} | |"
            + " phases[0].steps[0].steps[0].inject.seamcall: backend reference makes no SEAMCALLs",
        "{inject: {before: mmu_lock, steps: {inject: {seamcall: TDH_MEM_TRACK}}}} | |"
            + " phases[0].steps[0].inject.steps[0].inject.seamcall: backend reference makes no",
        "{split: 0..4K} | {seamcalls: {TDH_MEM_TRACK: 0}} | s.yaml:9: phases[0].expect[0].seamcalls:"
            + " backend reference makes no SEAMCALLs; backends: [tdx] beside it says whom",
        "{expect: {seamcalls: {TDH_MEM_TRACK: 0}}} | | phases[0].steps[0].expect.seamcalls: backend"
            + " reference makes no SEAMCALLs",
        "{split: 0..4K} | {growth: {map_gpa_calls: 0}} | phases[0].expect[0].growth.map_gpa_calls:"
            + " map_gpa_calls is counted where there is a TDX module, and backend reference has",
        "{split: 0..4K} | {stats: {pairs: 0}} | phases[0].expect[0].stats.pairs: pairs is counted"
            + " where there is a TDX module, and backend reference has none",
      })
  void whatIsTheModules_isRefused(String step, String expectation, String message) {
    assertThatThrownBy(() -> run(VM, phase(step, expectation == null ? "" : expectation)))
        .isInstanceOf(ScenarioException.class)
        .hasMessageContaining(message);
  }

  @Test
  void whatIsMeantForTdxOnly_isSkipped() throws Exception {
    assertHeld(
        run(
            VM,
            phase(
                "{split: 0..4K}",
                "{backends: tdx, seamcalls: {TDH_MEM_TRACK: 1}, growth: {map_gpa_calls: 3}}")));
  }

  @Test
  void privateMemory_isRefusedWithoutAnExternalPageTable() {
    assertThatThrownBy(() -> run(VM.replace("[reference]", "none"), phase("{split: 0..4K}", "")))
        .hasMessage(
            "s.yaml:6: vms.vm.type: backend none has no external page table, which a VM of type tdx"
                + " needs");
  }

  @Test
  void aHostThatIsTooSmall_isRefused() {
    assertThatThrownBy(
            () -> run(VM.replace("memory: 1G", "memory: 0"), phase("{split: 0..4K}", "")))
        .hasMessageContaining("0 is not accepted");
  }
}
