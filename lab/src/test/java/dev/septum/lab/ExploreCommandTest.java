package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code septum explore} and {@code septum replay} as users call them. */
class ExploreCommandTest {

  private static final String HEAD =
      """
      scenario: Who comes last
      host: {memory: 64M}
      files: {ram: {size: 4M}}
      vms: {td: {vcpus: 2, slots: [{slot: 1, gpa: 0, size: 4M, file: ram}]}}
      phases:
      """;

  /** What is expected holds in one of two orders. */
  private static final String RACE =
      HEAD
          + """
            - concurrently:
                a: [{set-attributes: 2M+4K, to: shared}]
                b: [{set-attributes: 2M+4K, to: private}]
              expect: [{attributes: {2M+4K: shared}}]
          """;

  /** Six callers, whose order slots_lock decides: 720 schedules. */
  private static final String MANY =
      HEAD
          + """
            - concurrently:
                a: [{set-attributes: 2M+4K, to: shared}]
                b: [{set-attributes: 2M+8K, to: private}]
                c: [{set-attributes: 2M+12K, to: shared}]
                d: [{set-attributes: 2M+16K, to: shared}]
                e: [{set-attributes: 2M+4K, to: private}]
                f: [{set-attributes: 2M+8K, to: shared}]
          """;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @TempDir private Path directory;

  private int run(String... args) {
    out.getBuffer().setLength(0);
    return TestCommand.run(out, err, args);
  }

  /** Explores a text; schedules are written beside it. */
  private int explore(String scenario, String... options) throws IOException {
    List<String> args = new ArrayList<>(List.of("explore", "--output", directory.toString()));
    args.addAll(List.of(options));
    args.add(write("race.yaml", scenario));
    return run(args.toArray(String[]::new));
  }

  private String write(String name, String text) throws IOException {
    return Files.writeString(directory.resolve(name), text).toString();
  }

  private String schedule() {
    return directory.resolve("race-1.schedule.yaml").toString();
  }

  @Test
  void whatIsFound_exitsWith1_andItsScheduleIsReplayedToTheSameStep() throws Exception {
    assertThat(explore(RACE)).isEqualTo(1);
    assertThat(out.toString())
        .contains("ran       2 schedules, 0 pruned, ")
        .contains("coverage  complete: there is no other schedule\n")
        .contains("\nFOUND FAILURE in 1 schedule(s): thread main/0 failed: line 9: 0x200000 is not")
        .contains(
            "      with 0 preemption(s), in 109 steps: septum replay %s%n".formatted(schedule()))
        .endsWith("\n1 finding(s).\n");

    assertThat(run("replay", schedule())).isEqualTo(1);
    assertThat(out.toString())
        .contains(" step  main           a ")
        .contains("  109  join thread a\n")
        .contains("FOUND FAILURE in step 109, as recorded:\n")
        .endsWith("thread main/0 failed: line 9: 0x200000 is not shared\n");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void replay_showsTraceEventsInTheColumnOfTheirThread() throws Exception {
    String scenario =
        HEAD
            + """
              - concurrently:
                  guest: [{vcpu: 0, pre-fault: 2M+2M}]
                  other: [{set-attributes: 0+4K, to: private}]
            """;
    assertThat(explore(scenario, "--write-outcomes", "--schedules", "1")).isZero();

    assertThat(run("replay", directory.resolve("race-outcome-1.schedule.yaml").toString()))
        .isZero();
    assertThat(out.toString())
        .contains("- kvm_mmu_spte_requested: gfn 200")
        .contains("- septum_seamcall: leaf=TDH_MEM_PAGE_AUG")
        .contains("acquire shared mmu_lock")
        .contains("\nCame to: guest: OK; other: OK; private 0x200000..0x400000 2M pending\n")
        .endsWith("\nNothing found.\n");
  }

  @Test
  void theReport_isTheSameForAnyNumberOfWorkersAndInEveryRun() throws Exception {
    assertThat(explore(MANY, "--workers", "1")).isZero();
    String first = out.toString();
    assertThat(first).contains("ran       720 schedules, ").contains("coverage  complete");

    assertThat(explore(MANY, "--workers", "1")).isZero();
    assertThat(out.toString()).isEqualTo(first);
    assertThat(explore(MANY, "--workers", "3")).isZero();
    assertThat(out.toString()).isEqualTo(first);
  }

  @Test
  void withAState_anInterruptedSearchGoesOnWhereItWas() throws Exception {
    Path state = directory.resolve("state");
    assertThat(explore(MANY, "--state", state.toString())).isZero();
    String whole = out.toString();
    List<String> lines = Files.readAllLines(state);
    assertThat(lines).hasSizeGreaterThan(20);

    // As if it had been killed in the middle of a line.
    String cut = String.join("\n", lines.subList(0, 10)) + "\n" + lines.get(10).substring(0, 40);
    Files.writeString(state, cut);
    assertThat(explore(MANY, "--state", state.toString())).isZero();
    assertThat(out.toString()).isEqualTo(whole);
    assertThat(Files.readAllLines(state)).hasSameSizeAs(lines).containsAll(lines.subList(0, 10));

    assertThat(explore(MANY, "--state", state.toString(), "--failures", "1")).isEqualTo(2);
    assertThat(err.toString())
        .contains("state:1: this is of another scenario, backend or search; delete it");
  }

  @Test
  void failuresAreChosenToo_andWhatTheyComeToIsNoFinding() throws Exception {
    String hole =
        HEAD
            + """
              - steps: [{vcpu: 0, pre-fault: 2M+2M}]
              - concurrently:
                  a: [{punch-hole: 2M+4K}]
            """;
    assertThat(explore(hole, "--failures", "1")).isZero();
    assertThat(out.toString())
        .contains("search    exhaustive, up to 1 failure(s) in each schedule\n")
        .contains("  a: OK; private 0x201000..0x400000 4K pending\n")
        .contains("  a: ENOMEM; private 0x200000..0x400000 2M pending; after 1 failure\n")
        .contains("; after 1 failure; bugged: SEAMCALL TDH_PHYMEM_PAGE_WBINVD failed");
  }

  @Test
  void otherStrategies_sayWhatTheyAreAndPrintTheirSeed() throws Exception {
    assertThat(explore(RACE, "--preemptions", "0")).isEqualTo(1);
    assertThat(out.toString()).contains("search    up to 0 preemptions\n");
    assertThat(explore(RACE, "--random", "--seed", "7", "--schedules", "20")).isEqualTo(1);
    assertThat(out.toString()).contains("search    random, seed 7\n").contains("bounded");
    assertThat(explore(RACE, "--pct", "2", "--schedules", "20", "--stop-at-first")).isEqualTo(1);
    assertThat(out.toString()).contains("search    pct, depth 2, seed 1\n");
  }

  @Test
  void json_hasTheSame() throws Exception {
    assertThat(explore(RACE, "--json")).isEqualTo(1);
    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.get("held").asBoolean()).isFalse();
    assertThat(report.get("complete").asBoolean()).isTrue();
    assertThat(report.get("schedules").asLong()).isEqualTo(2);
    assertThat(report.get("findings").get(0).get("steps").asInt()).isEqualTo(109);

    assertThat(run("replay", "--json", schedule())).isEqualTo(1);
    JsonNode replayed = new ObjectMapper().readTree(out.toString());
    assertThat(replayed.get("steps").asInt()).isEqualTo(109);
    assertThat(replayed.get("threads").get(1).asText()).isEqualTo("a");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--failures -1 | --failures -1 is negative",
        "--schedules 0 | --schedules 0 is not positive",
        "--workers 65 | --workers 65 is not in [1, 64]",
        "--preemptions -1 | --preemptions -1 is negative",
        "--pct 0 | --pct 0 is not positive",
        "--time 0 | --time 0 is not positive",
        "--backend tdy | no backend \"tdy\"; there is none, reference, tdx, tdx-v3",
        "--carrier none | expected one of [PLATFORM, VIRTUAL]"
      })
  void wrongUsage_isOneLine_andExitCode2(String options, String message) throws Exception {
    assertThat(explore(RACE, options.split(" ", -1))).isEqualTo(2);
    assertThat(err.toString().lines().findFirst().orElseThrow()).contains(message);
    assertThat(out.toString()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "  - steps: [{vcpu: 0, accept: 2M+2M}] "
            + "| race.yaml: no phase has concurrently: without actors there is one schedule",
        "  - concurrently: {a: [{vcpu: 0, read: 2M+4K}], b: [{vcpu: 0, read: 2M+4K}]}"
            + "| vCPU 0 is actor a's already; each needs its own",
        "  - concurrently: {a: [{inject: {before: mmu_lock, steps: [{vcpu: 0, read: 0+4K}]}}]}"
            + "| before chooses an order by itself; to have all of them, make its steps an actor"
      })
  void scenariosThatCannotBeExplored_areRefused(String phase, String message) throws Exception {
    // CsvSource strips the indent.
    assertThat(explore(HEAD + "  " + phase.strip() + "\n")).isEqualTo(2);
    assertThat(err.toString()).contains(message).hasLineCount(1);
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void aFileThatIsNoSchedule_orThatNobodyFollows_isOneLine_andExitCode2() throws Exception {
    assertThat(run("replay", write("none.yaml", "scenario: x\n"))).isEqualTo(2);
    assertThat(err.toString())
        .contains("none.yaml:2: this is no schedule that septum explore wrote: Missing creator")
        .hasLineCount(1);

    assertThat(explore(RACE)).isEqualTo(1);
    String found = Files.readString(Path.of(schedule()));
    assertDiverges(
        found.replace("2 begin", "1 begin"), "this Septum does not follow the schedule: at choice");
    assertDiverges(
        found.replace("to: private", "to: shared"), "this Septum comes to \"a: OK; b: OK\"");
    assertDiverges(found.replace("steps: 109", "steps: 108"), "in 109 steps, the file to ");
    assertDiverges(found.replace("tdx\n", "tdy\n"), "no backend \"tdy\"");
    assertDiverges(found.replace("septum-schedule: 1", "septum-schedule: 2"), "accepted: 1");
  }

  private void assertDiverges(String text, String message) throws IOException {
    err.getBuffer().setLength(0);
    assertThat(run("replay", write("changed.yaml", text))).as(message).isEqualTo(2);
    assertThat(err.toString()).contains(message);
    assertThat(out.toString()).isEmpty();
  }
}
