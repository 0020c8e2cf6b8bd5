package dev.septum.lab;

import dev.septum.kvm.KvmBackend;
import dev.septum.lab.scenario.BackendCheck;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.ScenarioReader;
import dev.septum.lab.sweep.Sweep;
import dev.septum.lab.sweep.SweepReport;
import dev.septum.lab.sweep.SweepText;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code septum sweep}: disturbs flows wherever something can go wrong in them. */
@Command(
    name = "sweep",
    description =
        "Runs the flows of scenarios again and again, each time with one or two allocations or"
            + " SEAMCALLs failing, and checks every invariant after each run.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:nothing was found",
      "1:something was found; each kind with the command that repeats it",
      "2:wrong usage, or a file that is no scenario; nothing was run"
    })
final class SweepCommand implements Callable<Integer> {

  /** The list of the scenarios that are swept if no file is named. */
  private static final String BUNDLED = "sweep.list";

  /** What is swept if nobody says otherwise. */
  private static final String DEFAULT = "tdx";

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(
      paramLabel = "FILE",
      arity = "0..*",
      description = "Scenario files (default: those that come with Septum).")
  private List<Path> files = new ArrayList<>();

  @Mixin private final BackendOptions backends = new BackendOptions();

  @Option(
      names = "--pairs",
      paramLabel = "N",
      description =
          "Run at most N pairs of disturbances of each flow, chosen by the seed (default: all).")
  private @Nullable Long pairs;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "1",
      description = "What chooses pairs (default: ${DEFAULT-VALUE}).")
  private long seed = 1;

  @Option(
      names = "--plan",
      paramLabel = "PLACE#N=MODE[,...]",
      description = "Only this run, of one FILE with one flow.")
  private @Nullable String plan;

  @Mixin private final ReportOptions report = new ReportOptions();

  @Override
  public Integer call() throws Exception {
    return backends.watching(this::sweep);
  }

  private int sweep() throws ScenarioException, IOException {
    if (pairs != null && pairs < 0) {
      throw usage("--pairs %d is negative".formatted(pairs));
    }
    List<ScenarioFile> scenarios =
        files.isEmpty()
            ? Bundled.listed(BUNDLED, backends.known().names())
            : ScenarioReader.readAll(files, backends.known().names());
    KvmBackend backend = backends.chosenOr(DEFAULT);
    for (ScenarioFile scenario : scenarios) {
      Sweep.phasesOf(scenario);
      BackendCheck.checkSteps(scenario, backend);
    }
    if (plan != null) {
      return replay(scenarios, backend, plan);
    }
    SweepReport swept = report.whileShowing(watcher -> sweep(scenarios, backend, watcher));
    report.print(swept, text -> SweepText.of(text, backends.pathArguments()));
    return swept.held() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private SweepReport sweep(List<ScenarioFile> scenarios, KvmBackend backend, Progress shown)
      throws ScenarioException {
    return new Sweep(backend, pairs == null ? Long.MAX_VALUE : pairs, seed, shown).run(scenarios);
  }

  private int replay(List<ScenarioFile> scenarios, KvmBackend backend, String text)
      throws ScenarioException, IOException {
    if (scenarios.size() != 1 || Sweep.phasesOf(scenarios.get(0)).size() != 1) {
      throw usage("--plan needs one FILE with one flow");
    }
    try {
      Sweep.Replay replay =
          Sweep.replay(scenarios.get(0), backend, Sweep.phasesOf(scenarios.get(0)).get(0), text);
      report.print(replay, SweepText::of);
      return replay.findings().isEmpty() ? ExitCode.OK : ExitCode.SOFTWARE;
    } catch (IllegalArgumentException e) {
      throw usage("--plan: " + e.getMessage());
    }
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
