package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DefectsCommandTest {

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int run(String... args) {
    return TestCommand.run(out, err, args);
  }

  @Test
  void table_hasALineForEachDefect() {
    assertThat(run("defects")).isZero();

    assertThat(out.toString().lines())
        .hasSize(1 + 21 + 2)
        .contains(
            "D1      yes       The error of a split is stored in a bool and becomes 1",
            "D11     no        The refcounts of the last range are not freed");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void json_isAnArrayWithEachDefectsFields() throws Exception {
    assertThat(run("defects", "--json")).isZero();

    JsonNode defects = new ObjectMapper().readTree(out.toString());
    assertThat(defects).hasSize(21);
    assertThat(defects.get(10).toString())
        .isEqualTo(
            """
            {"id":"D11","title":"The refcounts of the last range are not freed",\
            "source":"Dynamic PAMT v4 06/16: the array is sized rounding up and freed rounding \
            down",\
            "consequence":"At most one page of kernel memory is lost when the module is unloaded.",\
            "whyNotShown":"the memory behind the kernel's own arrays is not modelled",\
            "shown":false}""");
  }

  @Test
  void markdown_isDocsDefectsMd() throws Exception {
    assertThat(run("defects", "--markdown")).isZero();
    assertThat(out.toString()).isEqualTo(Files.readString(Path.of("../docs/defects.md")));
  }

  @Test
  void run_showsTheStepsOnBothDesigns() {
    assertThat(run("defects", "run", "d7")).isZero();

    assertThat(out.toString())
        .isEqualTo(
            """
            D7  A get that loses its race frees the pair that the cache gave it

              tdx-v3: DEFECT
                step      the guest accepts 2M at gfn 0x200, the host maps a 2M leaf
                step      another TD's page gets a pair for the range of the new S-EPT page, just \
            before it
                step      KVM_SET_MEMORY_ATTRIBUTES makes gfns [0x210, 0x211) shared
                observed  the ioctl returns 0
                observed  of 4 cached pages the split used 2, 0 are left
                parted    2 pages were drawn, used by nobody and freed

              tdx: SOUND
                step      the guest accepts 2M at gfn 0x200, the host maps a 2M leaf
                step      another TD's page gets a pair for the range of the new S-EPT page, just \
            before it
                step      KVM_SET_MEMORY_ATTRIBUTES makes gfns [0x210, 0x211) shared
                observed  the ioctl returns 0
                observed  of 4 cached pages the split used 2, 2 are left

            1 of 1 defects show on tdx-v3 and not on tdx
            """);
  }

  @Test
  void run_ofAVmThatIsBugged_printsItsSplat() {
    assertThat(run("defects", "run", "D5")).isZero();
    assertThat(out.toString())
        .containsOnlyOnce("------------[ cut here ]------------")
        .contains("WARNING: KVM_BUG_ON(SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_OPERAND_INVALID");
  }

  @Test
  void runAll_asJson_isAnArrayOfRuns() throws Exception {
    assertThat(run("defects", "run", "all", "--json")).isZero();

    JsonNode runs = new ObjectMapper().readTree(out.toString());
    assertThat(runs).hasSize(13);
    assertThat(runs)
        .allSatisfy(
            defect -> {
              assertThat(defect.get("posted").get("design").asText()).isEqualTo("tdx-v3");
              boolean harmless = defect.get("id").asText().equals("D10");
              assertThat(defect.get("posted").get("verdict").asText())
                  .isEqualTo(harmless ? "HARMLESS" : "DEFECT");
              assertThat(defect.get("sound").get("design").asText()).isEqualTo("tdx");
              assertThat(defect.get("sound").get("verdict").asText())
                  .isEqualTo(harmless ? "HARMLESS" : "SOUND");
              assertThat(defect.get("asExpected").asBoolean()).isTrue();
            });
    assertThat(runs.get(5).get("posted").get("lines").get(0).toString())
        .isEqualTo(
            """
            {"kind":"step","text":"the guest accepts 2M at gfn 0x200, the host maps a 2M leaf"}""");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "defects run D1 zz | no defect \"zz\"; there is D1, D2,",
        "defects run b | b cannot be shown: it is in v5",
        "defects run | Missing required parameter: 'ID'",
        "defects --json --markdown | --json and --markdown exclude each other",
      })
  void wrongUsage_isOneErrorAndNothingIsRun(String args, String message) {
    assertThat(run(args.split(" ", -1))).isEqualTo(2);

    assertThat(err.toString()).startsWith("septum: " + message);
    assertThat(err.toString().lines().filter(line -> line.startsWith("septum: "))).hasSize(1);
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void help_namesTheExitCodes() {
    assertThat(run("defects", "run", "--help")).isZero();
    assertThat(out.toString())
        .contains("ID...", "--json", "Exit codes:", "0   every defect shows on tdx-v3");
  }
}
