package dev.septum.lab.pamt;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.LogDamage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Logs with lines lost, moved, doubled and garbled: a report that adds up, or one error. */
class DamagedHostLogsTest {

  private static final int ROUNDS = 400;
  private static final LogDamage DAMAGE = new LogDamage("0123456789abcdefx-[]() :,\u001b\u0000", 4);

  @TempDir Path dir;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "h1_canonical385_2s_2t.dmesg",
        "h3_4node_1t_build481.dmesg",
        "h4_emr_too_many_holes.dmesg",
        "h8_canonical331_seamcall_error.dmesg"
      })
  void damagedLog_givesAReportThatAddsUpOrOneError(String name) throws Exception {
    List<String> lines = Files.readAllLines(HostLogs.real(name));
    int reports = 0;
    for (int seed = 0; seed < ROUNDS; seed++) {
      Path log = HostLogs.of(dir, DAMAGE.of(lines, new Random(seed)));
      try {
        assertAddsUp(PamtAccount.of(log), "seed " + seed);
        reports++;
      } catch (BootLogException e) {
        assertThat(e).hasMessageStartingWith(log + ":");
        assertThat(e.getMessage()).doesNotContain("\n");
      }
    }
    assertThat(reports).isBetween(ROUNDS / 4, ROUNDS - 1);
  }

  private static void assertAddsUp(PamtReport report, String seed) {
    long kib = report.tdmrs().stream().mapToLong(PamtReport.TdmrRow::pamtKib).sum();
    assertThat(report.staticPamt().computedKib()).as(seed).isEqualTo(kib).isPositive();
    assertThat(report.reserved()).as(seed).hasSameSizeAs(report.tdmrs());
    assertThat(report.outcome().agrees())
        .as(seed)
        .isEqualTo(report.outcome().differences().isEmpty());
    assertThat(PamtText.of(report)).as(seed).endsWith("\n").doesNotContain("null");
  }
}
