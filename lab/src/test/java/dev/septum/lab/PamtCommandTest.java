package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.septum.lab.pamt.HostLogs;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PamtCommandTest {

  private static final String H2 = HostLogs.real("h2_4node_1t_build784.dmesg").toString();
  private static final String H4 = HostLogs.real("h4_emr_too_many_holes.dmesg").toString();
  private static final String H5 = HostLogs.real("h5_single_lines.dmesg").toString();

  @TempDir Path dir;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int run(String... args) {
    return TestCommand.run(out, err, args);
  }

  @Test
  void equalSizes_exitWith0AndShowEveryTdmr() {
    assertThat(run("pamt", H2)).isZero();

    assertThat(err.toString()).isEmpty();
    assertThat(out.toString())
        .isEqualTo(
            """
            host      %s
            module    1.5, build 784 of 20240725
            KeyIDs    [32, 64) private
            init      done (line 10)

            Convertible memory: 5 CMRs
                         start               end             KiB    line
                      0x100000        0x77800000         1956864       4
                   0x100000000      0x407a000000       266240000       5
                  0x4080000000      0x807c000000       268369920       6
                  0x8080000000      0xc07c000000       268369920       7
                  0xc080000000     0x1007c000000       268369920       8

            5 TDMRs, from the CMRs; their static PAMT in KiB
                       start             end      GiB           4K        2M      1G     together
                         0x0      0x80000000        2         8192        16       4         8212
                 0x100000000    0x4080000000      254      1040384      2032       4      1042420
                0x4080000000    0x8080000000      256      1048576      2048       4      1050628
                0x8080000000    0xc080000000      256      1048576      2048       4      1050628
                0xc080000000   0x10080000000      256      1048576      2048       4      1050628
                         all                     1024      4194304      8192      20      4202516

            PAMT in KiB
              static, computed                                        4202516
              Dynamic PAMT's static part, computed                      40980
              printed by the kernel, line 9                           4202516

            Dynamic PAMT in KiB
              page bitmap                                               32768
              2M entries                                                 8192
              1G entries                                                   20
              static part                                               40980
              page pairs, one for every 2 MiB                         4194304
              worst case                                              4235284
              kernel: refcounts up to the end of memory                  2052
              kernel: refcounts of memory only                           2048

            Page pairs of Dynamic PAMT
              of all 2 MiB ranges of the TDMRs                         524288
              of those with memory in them                             524076
              that cost as much as static PAMT                         520192

            Reserved areas: at most 16 in a TDMR
                                          TDMR   holes  between CMRs   PAMTs
                             [0x0, 0x80000000)       2             2    <= 5
                   [0x100000000, 0x4080000000)       1             1    <= 5
                  [0x4080000000, 0x8080000000)       1             1    <= 5
                  [0x8080000000, 0xc080000000)       1             1    <= 5
                 [0xc080000000, 0x10080000000)       1             1    <= 5

            The kernel printed what was computed.
            """
                .formatted(H2));
  }

  @Test
  void sizesThatDiffer_exitWith1AndSayWhere() throws Exception {
    Path log = dir.resolve("host.dmesg");
    Files.writeString(log, "tdx: CMR: [0x100000, 0x77800000)\ntdx: 8216 KBs allocated for PAMT.\n");

    assertThat(run("pamt", log.toString())).isEqualTo(1);
    assertThat(out.toString())
        .endsWith(
            "\nThe log and the computation differ:\n  - computed 8212 KB, line 2 prints 8216 KB,"
                + " 4 KB more: the same 2 GiB, as if cut into 1 TDMRs more\n");
  }

  @Test
  void limitOfReservedAreas_isShownWhereItIsHit() {
    assertThat(run("pamt", H4)).isZero();
    assertThat(out.toString())
        .contains(
            """
                             [0x0, 0x80000000)      17             2    <= 5
                the limit is hit at [0x6f800000, 0x80000000)
            """)
        .endsWith("\nReserved areas run out in TDMR [0x0, 0x80000000), as line 42 says.\n");
  }

  @Test
  void logThatIsNoHosts_isOneLineAndNothingIsPrinted() {
    assertThat(run("pamt", H2, H5)).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString()).startsWith("septum: " + H5 + ":3: ").hasLineCount(1);
  }

  @Test
  void missingLog_isOneLine() {
    assertThat(run("pamt", "nowhere.dmesg")).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("septum: nowhere.dmesg: no such file\n");
  }

  @Test
  void json_isAnObjectForOneLogAndAnArrayForSeveral() throws Exception {
    assertThat(run("pamt", "--json", H2)).isZero();
    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.get("format").textValue()).isEqualTo("septum-pamt/1");
    assertThat(report.at("/staticPamt/computedKib").longValue()).isEqualTo(4202516);
    assertThat(report.at("/tdmrs/4/end").textValue()).isEqualTo("0x10080000000");
    assertThat(report.at("/outcome/agrees").booleanValue()).isTrue();

    out.getBuffer().setLength(0);
    assertThat(run("pamt", "--json", H2, H4)).isZero();
    assertThat(new ObjectMapper().readTree(out.toString())).hasSize(2);
  }

  @Test
  void withoutLog_asksForOne() {
    assertThat(run("pamt")).isEqualTo(2);
    assertThat(err.toString()).contains("Missing required parameter: 'LOG'");
  }
}
