package dev.septum.lab;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Placement;
import dev.septum.lab.bootlog.GuestLogs;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.report.BootReport;
import dev.septum.lab.report.BootReport.OutcomeSection;
import dev.septum.lab.report.SampleReports;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

class BootCommandTest {

  private static final String G1 = GuestLogs.real("g1_tdxlinux5_rocky94_4g.dmesg").toString();
  private static final String G3 = GuestLogs.real("g3_tdxtools524_8g.dmesg").toString();
  private static final String G8 = GuestLogs.real("g8_flashbots25.dmesg").toString();
  private static final String X3 = GuestLogs.real("x3_syzkaller317_gce_8g.dmesg").toString();

  @TempDir Path dir;

  /** Stands in for the emulator, and remembers what it was asked for. */
  private static final class FakeBoot implements GuestBoot {
    final List<GuestMemoryMap> maps = new ArrayList<>();
    final List<BootOptions> options = new ArrayList<>();
    OutcomeSection outcome = SampleReports.HELD;

    @Override
    public BootReport boot(GuestMemoryMap map, BootOptions bootOptions, Progress progress) {
      maps.add(map);
      options.add(bootOptions);
      bootOptions.trace().event("kvm_exit", "vcpu 0");
      return SampleReports.of(map, bootOptions, outcome);
    }
  }

  private final FakeBoot boot = new FakeBoot();
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  // What a boot is asked for.

  @Test
  void withoutOptions_bootsAsTheLogHasIt() {
    assertThat(run("boot", G1)).isZero();

    BootOptions options = boot.options.get(0);
    assertThat(options.vcpus()).isEqualTo(4);
    assertThat(options.mapGpaChunk()).isEqualTo(MapGpaChunk.CHUNK_2M);
    assertThat(options.dynamicPamt()).isTrue();
    assertThat(options.touchFirst()).isFalse();
    assertThat(options.placement()).isEqualTo(Placement.SEQUENTIAL);
    assertThat(options.seed()).isEqualTo(1);
    assertThat(options.backend().name()).isEqualTo("tdx");
    assertThat(options.hostMemoryBytes()).isEmpty();
    assertThat(options.trace().isOn()).isFalse();
    assertThat(err.toString()).isEmpty();
    assertThat(out.toString()).startsWith("guest     ").endsWith("All held: every page is back.\n");
  }

  @Test
  void everyOption_reachesTheBoot() {
    assertThat(
            run(
                "boot",
                "--map-gpa-chunk=whole",
                "--no-dpamt",
                "--touch-first",
                "--vcpus=2",
                "--placement=seeded",
                "--seed=42",
                "--host-memory=20000000K",
                "--no-assumed-memory",
                "--backend=tdx-v3",
                G3))
        .isZero();

    BootOptions options = boot.options.get(0);
    assertThat(options.vcpus()).isEqualTo(2);
    assertThat(options.mapGpaChunk()).isEqualTo(MapGpaChunk.WHOLE);
    assertThat(options.dynamicPamt()).isFalse();
    assertThat(options.touchFirst()).isTrue();
    assertThat(options.placement()).isEqualTo(Placement.SEEDED);
    assertThat(options.seed()).isEqualTo(42);
    assertThat(options.backend().name()).isEqualTo("tdx-v3");
    assertThat(options.hostMemoryBytes()).isEqualTo(OptionalLong.of(9766L << 21));
    assertThat(boot.maps.get(0).ram()).noneMatch(r -> r.assumed());
  }

  @Test
  void logWithoutVcpus_bootsOne() {
    assertThat(run("boot", G3)).isZero();
    assertThat(boot.options.get(0).vcpus()).isEqualTo(1);
  }

  // Exit codes and output.

  @Test
  void somethingFound_exitsWith1() {
    boot.outcome = new OutcomeSection(ImmutableMap.of("free", 1L), null, ImmutableList.of());

    assertThat(run("boot", G1)).isEqualTo(1);
    assertThat(out.toString()).contains("1 pages of free did not come back");
  }

  @Test
  void json_isAnObjectForOneLogAndAnArrayForSeveral() throws Exception {
    assertThat(run("boot", "--json", G1)).isZero();
    assertThat(new ObjectMapper().readTree(out.toString()).isObject()).isTrue();

    out.getBuffer().setLength(0);
    assertThat(run("boot", "--json", G1, G3)).isZero();
    assertThat(new ObjectMapper().readTree(out.toString())).hasSize(2);
  }

  @Test
  void trace_isWritten() {
    Path file = dir.resolve("trace.txt");

    assertThat(run("boot", "--trace", file.toString(), G1)).isZero();
    assertThat(file).content().contains("0.000001: kvm_exit: vcpu 0\n");
  }

  @Test
  void oneBadLogAmongSeveral_bootsNone() {
    assertThat(run("boot", G1, G8)).isEqualTo(2);

    assertThat(boot.maps).isEmpty();
    assertThat(out.toString()).isEmpty();
    assertOneError(G8 + ": no memory map in the log");
  }

  @Test
  void plainVm_isBootedOnlyOnDemand() {
    assertThat(run("boot", X3)).isEqualTo(2);
    assertOneError("--assume-tdx boots it anyway");

    assertThat(run("boot", "--assume-tdx", X3)).isZero();
    assertThat(boot.maps).hasSize(1);
  }

  @Test
  void missingLog_isOneLine() {
    assertThat(run("boot", "nowhere.dmesg")).isEqualTo(2);
    assertOneError("nowhere.dmesg: no such file");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--vcpus=0 | --vcpus 0 is not in [1, 4096]",
        "--vcpus=x | Invalid value for option '--vcpus': 'x' is not an int",
        "--placement=near | expected one of [SEQUENTIAL, SCATTERED, SEEDED]",
        "--map-gpa-chunk=4K | expected 2M or whole but was '4K'",
        "--host-memory=lots | 'lots' is not a size such as 512M or 20G",
        "--host-memory=0 | '0' is out of range",
        "--host-memory=999999999999T | '999999999999T' is out of range",
        "--host-memory=1G | 4.00 GiB of RAM, more than --host-memory 1.00 GiB",
        "--seed=1.5 | '1.5' is not a long",
        "--nope | Unknown option: '--nope'",
        "--trace=/nowhere/at/all/t | trace file /nowhere/at/all/t: no such directory"
      })
  void wrongUsage_isOneErrorWithTheValue(String option, String message) {
    assertThat(run("boot", option, G1)).isEqualTo(2);
    assertThat(boot.maps).isEmpty();
    assertOneError(message);
  }

  @Test
  void traceOfSeveralLogs_isRefused() {
    assertThat(run("boot", "--trace=" + dir.resolve("t"), G1, G3)).isEqualTo(2);
    assertOneError("--trace takes one LOG, not 2");
    assertThat(dir).isEmptyDirectory();
  }

  @Test
  void backendThatDoesNotExist_isRefusedWithTheNamesThatDo() {
    assertThat(run("boot", "--backend", "sev", G1)).isEqualTo(2);
    assertOneError("no backend \"sev\"; there is none, reference, tdx, tdx-v3");
    assertThat(boot.options).isEmpty();
  }

  @Test
  void withoutLog_asksForOne() {
    assertThat(run("boot")).isEqualTo(2);
    assertOneError("Missing required parameter: 'LOG'");
  }

  @Test
  void withoutCommand_asksForOne() {
    assertThat(run()).isEqualTo(2);
    assertOneError(
        "a COMMAND is missing: boot, conform, pamt, seamcall, run, explore, replay, sweep, fuzz, defects");
  }

  @Test
  void guestLargerThanAnyMachine_isRefused() throws Exception {
    String log =
        Files.writeString(
                dir.resolve("large.dmesg"),
                GuestLogs.TDX + GuestLogs.e820(0, (1L << 51) - 1, "usable"))
            .toString();

    assertThat(run("boot", log)).isEqualTo(2);
    assertOneError("2097152.00 GiB of RAM, more than the 16384.00 GiB that can be booted");
  }

  @Test
  void emulatorThatThrows_isOneLineAndExitsWith1() {
    CommandLine command =
        command(
            (map, options, progress) -> {
              throw new IllegalStateException("pfn 0x7 belongs to free\nhistory: free");
            });

    assertThat(Septum.run(command, "boot", "--trace", dir.resolve("t").toString(), G1))
        .isEqualTo(1);
    assertOneError(
        "septum: the emulator stopped: java.lang.IllegalStateException: pfn 0x7 belongs");
    assertThat(dir).isEmptyDirectory();
  }

  @Test
  void heapTooSmall_isOneLine() {
    CommandLine command =
        command(
            (map, options, progress) -> {
              throw new OutOfMemoryError("Java heap space");
            });

    assertThat(Septum.run(command, "boot", G1)).isEqualTo(2);
    assertOneError("MiB of Java heap are too few; SEPTUM_JAVA_OPTS=-Xmx16g gives more");
  }

  @Test
  void help_namesEveryOptionAndExitCode() {
    assertThat(run("boot", "--help")).isZero();

    assertThat(out.toString())
        .contains(
            "--json",
            "--trace=FILE",
            "--map-gpa-chunk=2M|whole",
            "--backend=NAME",
            "--no-dpamt",
            "--touch-first",
            "--vcpus=N",
            "--placement=sequential|scattered|seeded",
            "--seed=N",
            "--assume-tdx",
            "--no-assumed-memory",
            "--host-memory=SIZE",
            "--[no-]progress",
            "Exit codes:");
  }

  @Test
  void version_isOneLine() {
    assertThat(run("--version")).isZero();
    assertThat(out.toString()).startsWith("septum ").hasLineCount(1);
  }

  @Test
  void progress_isShownOnlyWhenItTakesLong() {
    StringWriter terminal = new StringWriter();
    long[] now = {0};
    try (ProgressLine line = new ProgressLine(new PrintWriter(terminal), () -> now[0])) {
      line.phase("accept", 4096);
      assertThat(terminal.toString()).isEmpty();
      now[0] = 1_500_000_000;
      for (int i = 1; i <= 512; i++) {
        line.reached(i);
      }
      assertThat(terminal.toString()).isEqualTo("\raccept: 256 of 4096");
    }
    assertThat(terminal.toString())
        .endsWith("\r" + " ".repeat("accept: 256 of 4096".length()) + "\r");
  }

  private int run(String... args) {
    return Septum.run(command(boot), args);
  }

  private CommandLine command(GuestBoot guestBoot) {
    return Septum.commandLine(guestBoot, (recording, progress) -> recording.outcomes())
        .setOut(new PrintWriter(out, true))
        .setErr(new PrintWriter(err, true));
  }

  private void assertOneError(String message) {
    assertThat(err.toString()).startsWith("septum: ").contains(message).doesNotContain("\tat ");
    assertThat(err.toString().lines().filter(l -> l.startsWith("septum: "))).hasSize(1);
  }
}
