package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code septum sweep} and {@code septum fuzz} as users call them. */
class SweepCommandTest {

  private static final String FLOW =
      """
      scenario: A leaf is split
      host: {memory: 2G, placement: scattered}
      files: {ram: {size: 8M}}
      vms: {td: {slots: [{slot: 1, gpa: 0, size: 8M, file: ram}]}}
      phases:
        - steps: [{vcpu: 0, accept: 2M+2M}]
        - name: the split
          steps: [{split: 0x210000+4K}]
      """;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @TempDir private Path directory;

  private int run(String... args) {
    return TestCommand.run(out, err, args);
  }

  private String flow() throws IOException {
    return Files.writeString(directory.resolve("flow.yaml"), FLOW).toString();
  }

  @Test
  void theSoundDesign_isClean_andTheTableSaysWhatBecameOfEachDisturbance() throws Exception {
    assertThat(run("sweep", "--pairs", "20", "--seed", "5", flow())).isZero();

    assertThat(out.toString())
        .startsWith("backend tdx, seed 5\n")
        .contains(
            "A leaf is split: the split\n13 points, 29 runs with one disturbance, 20 with two")
        .contains("  pamt_cache                   fail             4  ENOMEM\n")
        .endsWith("\n1 flow(s), 50 run(s): nothing was found.\n");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void json_hasTheSame() throws Exception {
    assertThat(run("sweep", "--pairs", "0", "--json", flow())).isZero();

    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.get("held").asBoolean()).isTrue();
    assertThat(report.get("runs").asLong()).isEqualTo(30);
    assertThat(report.get("flows").get(0).get("points").asInt()).isEqualTo(13);
  }

  @Test
  void whatIsFound_exitsWith1_andThePlanRepeatsIt() throws Exception {
    String file = flow();
    assertThat(run("sweep", "--backend", "tdx-v3", "--pairs", "0", file)).isEqualTo(1);
    assertThat(out.toString())
        .contains("septum sweep --backend tdx-v3 --plan TDH_MEM_PAGE_DEMOTE#1=busy " + file);

    out.getBuffer().setLength(0);
    assertThat(run("sweep", "--backend", "tdx-v3", "--plan", "TDH_MEM_PAGE_DEMOTE#1=busy", file))
        .isEqualTo(1);
    assertThat(out.toString())
        .isEqualTo(
            """
            bugged: SEAMCALL TDH_MEM_PAGE_DEMOTE failed, pages are lost
            FOUND  the VM is bugged: SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_SW_ERROR
            """);
  }

  @Test
  void aPlanThatTheFlowDoesNotComeTo_isSaid() throws Exception {
    assertThat(run("sweep", "--plan", "pamt_cache#9=fail", flow())).isZero();

    assertThat(out.toString())
        .isEqualTo("absorbed\nThe flow did not come to every point of the plan.\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--pairs -1 | --pairs -1 is negative",
        "--plan nonsense | --plan: \"nonsense\" is no PLACE#NUMBER=MODE, such as pamt_cache#3=fail",
        "--backend tdy | no backend \"tdy\"; there is none, reference, tdx, tdx-v3"
      })
  void wrongUsage_isOneLine_andExitCode2(String options, String message) throws Exception {
    String[] words = ("sweep " + options + " " + flow()).split(" ", -1);

    assertThat(run(words)).isEqualTo(2);
    assertThat(err.toString().lines().findFirst().orElseThrow()).contains(message);
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void aFileThatIsNoScenario_isOneLine_andExitCode2() throws Exception {
    Path file = Files.writeString(directory.resolve("bad.yaml"), "scenario: x\nvms: {}\n");

    assertThat(run("sweep", file.toString())).isEqualTo(2);
    assertThat(err.toString()).startsWith("septum: " + file + ":");
    assertThat(err.toString().lines()).hasSize(1);
  }

  @Test
  void fuzz_printsWhatItFound_asAScenario() {
    assertThat(run("fuzz", "--backend", "tdx-v3", "--seed", "3", "--runs", "1")).isEqualTo(1);
    assertThat(out.toString())
        .startsWith("backend tdx-v3: 1 scenario(s) of 12 steps, seeds 3 to 3\n")
        .contains("    scenario: Random steps from seed 3\n")
        .endsWith("\n1 kind(s) of findings.\n");

    out.getBuffer().setLength(0);
    assertThat(run("fuzz", "--seed", "3", "--runs", "1", "--json")).isZero();
    assertThat(out.toString()).contains("\"held\" : true");
  }

  @Test
  void fuzz_refusesWhatCannotBeRun() {
    assertThat(run("fuzz", "--steps", "0")).isEqualTo(2);
    assertThat(err.toString()).startsWith("septum: --steps 0 is not in [1, 10000]\n");
  }
}
