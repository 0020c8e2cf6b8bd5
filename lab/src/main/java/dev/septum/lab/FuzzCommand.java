package dev.septum.lab;

import dev.septum.lab.fuzz.Fuzz;
import dev.septum.lab.fuzz.FuzzReport;
import java.io.IOException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code septum fuzz}: random scenarios. */
@Command(
    name = "fuzz",
    description =
        "Runs random scenarios with random failures, checks every invariant after each step, and"
            + " prints the shortest scenario of each kind of finding.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {"0:nothing was found", "1:something was found", "2:wrong usage"})
final class FuzzCommand implements Callable<Integer> {

  private static final int MAX_STEPS = 10_000;

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Mixin private final BackendOptions backends = new BackendOptions();

  @Option(
      names = "--runs",
      paramLabel = "N",
      defaultValue = "1000",
      description = "How many scenarios (default: ${DEFAULT-VALUE}).")
  private long runs;

  @Option(
      names = "--steps",
      paramLabel = "N",
      defaultValue = "12",
      description = "Steps in each scenario (default: ${DEFAULT-VALUE}).")
  private int steps;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "Seed of the first scenario; the next ones have the next numbers (default:"
              + " ${DEFAULT-VALUE}).")
  private long seed;

  @Mixin private final ReportOptions report = new ReportOptions();

  @Override
  public Integer call() throws Exception {
    return backends.watching(this::fuzz);
  }

  private int fuzz() throws IOException {
    require(runs >= 1 && runs <= Integer.MAX_VALUE, "--runs %d is not positive", runs);
    require(steps >= 1 && steps <= MAX_STEPS, "--steps %d is not in [1, 10000]", steps);
    Fuzz fuzz = new Fuzz(backends.withPrivateMemoryOr("tdx"), steps);
    FuzzReport fuzzed = report.whileShowing(watcher -> fuzz.run(seed, runs, watcher));
    report.print(fuzzed, FuzzReport::text);
    return fuzzed.held() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private void require(boolean condition, String format, long value) {
    if (!condition) {
      throw new ParameterException(spec.commandLine(), String.format(format, value));
    }
  }
}
