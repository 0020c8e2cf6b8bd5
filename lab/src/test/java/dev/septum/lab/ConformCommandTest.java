package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.collect.ImmutableList;
import dev.septum.lab.conform.Event;
import dev.septum.lab.conform.OpOutcome;
import dev.septum.lab.conform.RealRecordings;
import dev.septum.lab.conform.Recording;
import dev.septum.lab.conform.RecordingException;
import dev.septum.lab.conform.Replayer;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

class ConformCommandTest {

  private static final String TINY = RealRecordings.zip("04b-hva-misaligned").toString();
  private static final String RACE = RealRecordings.zip("09b-concurrent-one-page").toString();

  @TempDir Path dir;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();
  private final List<String> replayed = new ArrayList<>();

  /** Answers what was recorded, and remembers what it was asked. */
  private final Replayer echo =
      (recording, progress) -> {
        replayed.add(recording.name());
        return recording.outcomes();
      };

  @Test
  void allRecordingsOfTheProject_areReadAndReplayed() {
    assertThat(run(echo, "conform", "--races=1", "recordings")).isZero();

    assertThat(replayed)
        .hasSize(35)
        .startsWith("01-thp2m-enable-tiny")
        .endsWith("la57/01-thp2m-enable-tiny");
    assertThat(out.toString())
        .hasLineCount(36)
        .containsPattern("\n04b-hva-misaligned +equal {4}10 ops, 69 events\n")
        .endsWith("35 of 35 recordings are equal\n");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void race_isRunAsOftenAsAsked() {
    assertThat(run(echo, "conform", "--races", "2", TINY, RACE)).isZero();
    assertThat(replayed)
        .containsExactly(
            "04b-hva-misaligned", "09b-concurrent-one-page", "09b-concurrent-one-page");
    assertThat(out.toString()).contains(", race runs: 2\n");
  }

  @Test
  void difference_exitsWith1() {
    assertThat(run(ConformCommandTest::withoutEvents, "conform", TINY)).isEqualTo(1);
    assertThat(out.toString())
        .contains("04b-hva-misaligned  DIFFERS  at op 2 touch, event 1 (trace.txt:21)\n")
        .contains("  recorded  kvm_mmu_get_page: sp gen 0 gfn 0 l4 8-byte")
        .contains("  septum    (nothing more)\n")
        .endsWith("0 of 1 recordings are equal\n");
  }

  private static List<OpOutcome> withoutEvents(Recording recording, Progress progress) {
    return recording.outcomes().stream()
        .map(
            o ->
                new OpOutcome(
                    o.rc(),
                    o.errno(),
                    ImmutableList.<Event>of(),
                    o.vmStats(),
                    o.vcpuDeltas(),
                    o.dirtyRanges(),
                    o.entries(),
                    o.mmioExits(),
                    o.lastMmioGpa(),
                    o.table()))
        .toList();
  }

  @Test
  void json_isOneObject() throws Exception {
    assertThat(run(echo, "conform", "--json", "--races=0", TINY, RACE)).isZero();
    assertThat(new ObjectMapper().readTree(out.toString()).path("equal").asInt()).isEqualTo(2);
  }

  @Test
  void texts_areWrittenForDiff() {
    Path texts = dir.resolve("new/texts");

    assertThat(run(echo, "conform", "--write", texts.toString(), TINY)).isZero();
    assertThat(texts.resolve("04b-hva-misaligned/septum.txt"))
        .hasSameTextualContentAs(texts.resolve("04b-hva-misaligned/recorded.txt"));
  }

  @Test
  void oneBadRecordingAmongSeveral_replaysNone() throws Exception {
    Path bad = RealRecordings.unpack("06d-readonly-slots", dir);
    Files.delete(bad.resolve("pt-007.txt"));

    assertThat(run(echo, "conform", TINY, dir.toString())).isEqualTo(2);
    assertThat(replayed).isEmpty();
    assertThat(out.toString()).isEmpty();
    assertOneError("septum: " + bad + "/pt-007.txt: no such file");
  }

  @Test
  void operationThatCannotBeReplayed_isBadInput() {
    Replayer none =
        (recording, progress) -> {
          throw new RecordingException("op 3 fly: no such operation");
        };
    assertThat(run(none, "conform", TINY)).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertOneError("septum: op 3 fly: no such operation");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--races=-1 | --races -1 is not in [0, 1000000]",
        "--races=x | Invalid value for option '--races': 'x' is not an int",
        "--write=pom.xml | --write pom.xml: is no folder",
        "--nope | Unknown option: '--nope'",
      })
  void wrongUsage_isOneErrorWithTheValue(String option, String message) {
    assertThat(run(echo, "conform", option, TINY)).isEqualTo(2);
    assertThat(replayed).isEmpty();
    assertOneError(message);
  }

  @Test
  void twoRecordingsOfOneName_cannotBeWritten() {
    String write = "--write=" + dir;
    assertThat(run(echo, "conform", write, TINY, TINY)).isEqualTo(2);
    assertOneError("--write: two recordings are called 04b-hva-misaligned");
    assertThat(dir).isEmptyDirectory();
  }

  @Test
  void missingFolder_isOneLine() {
    assertThat(run(echo, "conform", "nowhere")).isEqualTo(2);
    assertOneError("septum: nowhere: no such folder");
  }

  @Test
  void withoutFolder_asksForOne() {
    assertThat(run(echo, "conform")).isEqualTo(2);
    assertOneError("Missing required parameter: 'DIR'");
  }

  @Test
  void help_namesEveryOptionAndExitCode() {
    assertThat(run(echo, "conform", "--help")).isZero();
    assertThat(out.toString())
        .contains("DIR...", "--json", "--write=DIR", "--[no-]progress", "Exit codes:")
        .containsPattern("--races=N +How often a race is run on threads \\(default: 20\\)");
  }

  private int run(Replayer replayer, String... args) {
    CommandLine command =
        Septum.commandLine(
                (map, options, progress) -> {
                  throw new AssertionError("nothing is booted");
                },
                replayer)
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true));
    return Septum.run(command, args);
  }

  private void assertOneError(String message) {
    assertThat(err.toString()).startsWith("septum: ").contains(message).doesNotContain("\tat ");
    assertThat(err.toString().lines().filter(l -> l.startsWith("septum: "))).hasSize(1);
  }
}
