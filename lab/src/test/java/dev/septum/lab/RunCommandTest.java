package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.septum.lab.scenario.ScenarioReference;
import dev.septum.lab.scenario.ScenarioSchema;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RunCommandTest {

  private static final String SPLIT = "scenarios/attributes_split.yaml";
  private static final String WITHOUT_MEMORY = "scenarios/split_without_memory.yaml";

  @TempDir Path dir;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int run(String... args) {
    return TestCommand.run(out, err, args);
  }

  private String file(String name, String text) throws Exception {
    return Files.writeString(dir.resolve(name), text).toString();
  }

  /** Writes a page where none is. */
  private String failing() throws Exception {
    return file(
        "failing.yaml",
        """
        scenario: Nothing is there
        host: {memory: 64M}
        vms: {vm: {type: default}}
        phases:
          - steps:
              - {vcpu: 0, write: 2M+4K}
            expect: {stats: {pages_4k: 1}}
        """);
  }

  @Test
  void aScenarioThatHolds_isReported() throws Exception {
    assertThat(run("run", WITHOUT_MEMORY)).isZero();

    assertThat(out.toString())
        .isEqualTo(
            """
            scenario  A split that gets no memory
            file      scenarios/split_without_memory.yaml
            backend   tdx

            The guest accepts a 2M page
                18  vCPU 0 accept 0x200000..0x400000                                    OK

            A part of it is to become shared, without memory
                22  inject no memory for external_page_table (the next)                 OK
                23  set-attributes 0x210000..0x212000 to shared                         ENOMEM

            Another hole has the same fate, and now there is memory
                38  inject no memory for external_page_table (the next)                 OK
                39  punch-hole 0x300000..0x302000                                       ENOMEM
                41  punch-hole 0x300000..0x302000                                       OK

            All held: every page is back.
            """);
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void anotherBackend_isAnotherRun() {
    assertThat(run("run", "--backend", "tdx-v3", WITHOUT_MEMORY)).isZero();
    assertThat(out.toString().lines().map(line -> line.replaceAll(" {3,}", "   ")))
        .contains(
            "backend   tdx-v3",
            "   23  set-attributes 0x210000..0x212000 to shared   OK",
            "   39  punch-hole 0x300000..0x302000   1");
  }

  @Test
  void findings_areExitCode1() throws Exception {
    String file = failing();
    assertThat(run("run", file)).isEqualTo(1);

    assertThat(out.toString())
        .isEqualTo(
            """
            scenario  Nothing is there
            file      %s
            backend   tdx

            phase 1
                 6  vCPU 0 write 0x200000..0x201000                                     mmio  at 0x200000
              FOUND  line 6: mmio, expected was OK (at 0x200000)
              FOUND  line 7: pages_4k is 0, expected was 1

            2 findings.
            """
                .formatted(file));
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void json_isAnObjectForOne_andAnArrayForSeveral() throws Exception {
    String file = failing();
    assertThat(run("run", "--json", file)).isEqualTo(1);
    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.get("held").asBoolean()).isFalse();
    assertThat(report.get("phases").get(0).get("steps").get(0).toString())
        .isEqualTo(
            """
            {"line":6,"actor":null,"step":"vCPU 0 write 0x200000..0x201000","result":"mmio",\
            "detail":"at 0x200000"}""");
    assertThat(report.get("phases").get(0).get("findings").get(1).toString())
        .isEqualTo(
            """
            {"line":7,"text":"pages_4k is 0, expected was 1"}""");

    out.getBuffer().setLength(0);
    assertThat(run("run", "--json", file, SPLIT)).isEqualTo(1);
    JsonNode reports = new ObjectMapper().readTree(out.toString());
    assertThat(reports).hasSize(2);
    assertThat(reports.get(1).get("held").asBoolean()).isTrue();
  }

  @Test
  void trace_isFtraceText() throws Exception {
    Path trace = dir.resolve("trace.txt");
    assertThat(run("run", "--trace", trace.toString(), SPLIT)).isZero();
    assertThat(Files.readString(trace))
        .startsWith("# tracer: nop\n")
        .contains("kvm_tdp_mmu_spte_changed");
  }

  @Test
  void check_readsAndRunsNothing() throws Exception {
    assertThat(run("run", "--check", failing(), SPLIT)).isZero();
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void schemaReferenceAndCounters_arePrinted() {
    assertThat(run("run", "--schema")).isZero();
    assertThat(out.toString()).isEqualTo(ScenarioSchema.text());
    out.getBuffer().setLength(0);
    assertThat(run("run", "--reference")).isZero();
    assertThat(out.toString()).isEqualTo(ScenarioReference.text());
    out.getBuffer().setLength(0);
    assertThat(run("run", "--counters")).isZero();
    assertThat(out.toString()).contains("Of every VM:\n", "  pages_4k\n", "Of the host:\n");
  }

  @Test
  void groupsActorsAndRepeats_areOneLineEach() throws Exception {
    String file =
        file(
            "groups.yaml",
            """
            scenario: Lines
            host: {memory: 64M}
            files: {ram: {size: 4M}}
            vms:
              vm: {type: default, slots: {slot: 1, gpa: 8G, size: 1M}}
              td: {slots: {slot: 1, gpa: 0, size: 4M, file: ram}}
            phases:
              - name: a
                repeat: 2
                concurrently:
                  one:
                    - repeat: 3
                      steps: [{vcpu: vm/0, write: 8G+4K}, {vm: vm, discard: 8G+4K}]
              - name: b
                steps:
                  - {vm: td, add-slot: {slot: 2, gpa: 8G, size: 4K}}
                  - {punch-hole: 0..2M}
                  - {file: ram, convert-file: 0..4K, to: shared, repeat: 2}
                  - inject: {before: mmu_lock, next: 2, times: 3, steps: []}
            """);
    assertThat(run("run", file)).isZero();
    assertThat(out.toString().lines().map(line -> line.replaceAll(" {3,}", "   ")))
        .contains(
            "a (2 times)",
            "   12  one: steps 2, 3 times   OK",
            "   16  VM td add-slot 2 at 0x200000000..0x200001000   OK",
            "   17  punch-hole 0x0..0x200000   OK",
            "   18  file ram convert-file 0x0..0x1000 to shared, 2 times   OK",
            "   19  inject before mmu_lock (in 2, 3 times)   OK");
  }

  /** Every file is read before the first one runs. */
  @Test
  void aFileThatIsNoScenario_isOneLine_andNothingIsRun() throws Exception {
    String broken =
        file("broken.yaml", "scenario: x\nvms: {vm: {vcpus: 0}}\nphases: [{steps: []}]\n");
    assertThat(run("run", SPLIT, broken)).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .isEqualTo(
            "septum: %s:2: vms.vm.vcpus: 0 is not accepted; accepted: 1 to 64\n".formatted(broken));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "host: {memory: 2M}; vms: {a: {vcpus: 64}, b: {vcpus: 64}} | 3: vms.b: KVM_TDX_INIT_VCPU"
            + " failed: ENOMEM",
        "host: {memory: 8M}; vms: {vm: {type: default, slots: {slot: 1, gpa: 8G, size: 1G, backing:"
            + " 1G}}} | 3: vms.vm.slots[0]: the host has not enough memory for it",
        "host: {parameters: {nx: 1}}; vms: {vm: {}} | 2: host.parameters.nx: KVM refuses it: ENOENT",
        "host: {}; vms: {vm: {type: default, dirty-ring: 5}} | 3: vms.vm: dirty-ring cannot be had:"
            + " EINVAL",
        "host: {}; vms: {vm: {slots: {slot: 1, gpa: 3000T, size: 4K}}} | 3: vms.vm.slots[0]: KVM"
            + " refuses it: EINVAL",
      })
  void aHostThatCannotBe_isOneLine(String keys, String message) throws Exception {
    String file =
        file("s.yaml", "scenario: x\n" + keys.replace("; ", "\n") + "\nphases: [{steps: []}]\n");
    assertThat(run("run", file)).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString()).isEqualTo("septum: %s:%s\n".formatted(file, message));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "run | a FILE is missing",
        "run none.yaml | none.yaml: there is no such file",
        "run --backend sev x.yaml | no backend \"sev\"",
        "run --trace t a.yaml b.yaml | --trace takes one FILE, not 2",
      })
  void wrongUsage_isOneErrorAndNothingIsRun(String args, String message) {
    assertThat(run(args.split(" ", -1))).isEqualTo(2);
    assertThat(err.toString()).startsWith("septum: " + message);
    assertThat(err.toString().lines().filter(line -> line.startsWith("septum: "))).hasSize(1);
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void help_namesTheExitCodes() {
    assertThat(run("run", "--help")).isZero();
    assertThat(out.toString()).contains("FILE", "--reference", "Exit codes:", "1   something");
  }
}
