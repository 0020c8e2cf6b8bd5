package dev.septum.bench;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.ExitCode;

/** That each subject runs, finds what it must and is counted; not how fast. */
final class ExplorationFiguresTest {

  private static String run(int expected, String... arguments) {
    StringWriter out = new StringWriter();
    CommandLine command = ExplorationFigures.commandLine();
    command.setOut(new PrintWriter(out)).setErr(new PrintWriter(out));
    assertThat(command.execute(arguments)).as("%s", out).isEqualTo(expected);
    return out.toString();
  }

  @Test
  void eachTool_isMeasured() throws IOException {
    String json =
        run(
            ExitCode.OK,
            "--quick",
            "--json",
            "--rounds=1",
            "--warm-rounds=2",
            "--most-schedules=100",
            "--invocations=5");
    JsonNode figures = new ObjectMapper().readTree(json);
    assertThat(figures.findValuesAsText("tool"))
        .startsWith("PLATFORM_RANDOM", "PLATFORM_PCT", "PLATFORM_EXHAUSTIVE", "PLATFORM_COUNTED")
        .endsWith("LINCHECK", "TLC");
    JsonNode tlc = figures.get(figures.size() - 1);
    assertThat(tlc.get("executions").asLong()).as("states of the specification").isEqualTo(1_206);
    assertThat(figures.get(2).get("executions").asLong()).as("schedules").isBetween(100L, 1_000L);
    assertThat(figures.get(2).get("complete").isNull()).as("a search that was cut").isTrue();
  }

  @Test
  void aDirectoryWithoutAJdk_isRefused() {
    assertThat(run(ExitCode.USAGE, "--java", "target")).contains("no bin/java in target");
  }

  @Test
  void aBoundOfNothing_isRefused() {
    assertThat(run(ExitCode.USAGE, "--rounds=0")).contains("a bound must be 1 or more");
  }
}
