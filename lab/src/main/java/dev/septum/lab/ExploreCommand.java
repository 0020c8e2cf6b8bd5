package dev.septum.lab;

import com.google.common.base.Stopwatch;
import dev.septum.kernel.schedule.Carrier;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.ExplorationWatcher;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.explore.ExploreReport;
import dev.septum.lab.explore.ExploreText;
import dev.septum.lab.explore.Explorer;
import dev.septum.lab.explore.SavedParts;
import dev.septum.lab.explore.Search;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code septum explore}: a scenario under every schedule. */
@Command(
    name = "explore",
    description =
        "Runs the actors of a scenario in every order that can make a difference, and checks"
            + " every expectation and invariant in each.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    footer = {"", "docs/exploration.md says what is explored, and what is not."},
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:nothing was found, in all schedules or in those that were run",
      "1:something was found; each cause with a file for septum replay",
      "2:wrong usage, or a file that is no scenario with actors; nothing was run"
    })
final class ExploreCommand implements Callable<Integer> {

  private static final int MOST_WORKERS = 64;

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(
      paramLabel = "SCENARIO",
      description =
          "A scenario file with actors (concurrently), or the name of one that comes with Septum:"
              + " ${COMPLETION-CANDIDATES}.",
      completionCandidates = Bundled.Explored.class)
  @SuppressWarnings("NullAway.Init")
  private String scenario;

  @Mixin private final BackendOptions backends = new BackendOptions();

  /** Ways to choose schedules: one of them. */
  private static final class Strategy {
    @Option(
        names = "--preemptions",
        paramLabel = "N",
        required = true,
        description =
            "Instead of all: every schedule in which a thread that could go on waits at most N"
                + " times.")
    private @Nullable Integer preemptions;

    @Option(
        names = "--pct",
        paramLabel = "DEPTH",
        required = true,
        description =
            "Instead of all: schedules by random priorities that change DEPTH - 1 times"
                + " (probabilistic concurrency testing).")
    private @Nullable Integer pct;

    @Option(
        names = "--random",
        required = true,
        description = "Instead of all: schedules at random.")
    private boolean random;
  }

  @ArgGroup private @Nullable Strategy strategy;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "1",
      description = "Of --pct and --random (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = "--failures",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "Up to N allocations or SEAMCALLs fail in each schedule, wherever they can (default:"
              + " ${DEFAULT-VALUE}).")
  private int failures;

  @Option(
      names = "--schedules",
      paramLabel = "N",
      defaultValue = "100000",
      description = "Run at most N schedules (default: ${DEFAULT-VALUE}).")
  private long schedules;

  @Option(
      names = "--time",
      paramLabel = "SECONDS",
      description = "Stop after so many seconds; what was done by then depends on the machine.")
  private @Nullable Long time;

  @Option(
      names = "--steps",
      paramLabel = "N",
      defaultValue = "20000",
      description = "A schedule with more steps is a livelock (default: ${DEFAULT-VALUE}).")
  private int steps;

  @Option(
      names = "--tell-pages-apart",
      description =
          "Take it that it makes a difference which thread gets which host page: many more"
              + " schedules, for questions of page placement.")
  private boolean tellsPagesApart;

  @Option(names = "--stop-at-first", description = "Stop at the first finding.")
  private boolean stopsAtFirst;

  @Option(
      names = "--workers",
      paramLabel = "N",
      description = "Run N schedules at once; what comes of it is the same (default: one a core).")
  private @Nullable Integer workers;

  @Option(
      names = "--carrier",
      paramLabel = "KIND",
      description =
          "What emulated threads run on: virtual, from JDK 24 on, or platform (default: the"
              + " faster one that there is). The schedules are the same.")
  private @Nullable Carrier carrier;

  @Option(
      names = "--state",
      paramLabel = "FILE",
      description =
          "Keep what is done in FILE, and go on from there if it is there. For whole searches that"
              + " may be interrupted.")
  private @Nullable Path state;

  @Option(
      names = "--output",
      paramLabel = "DIR",
      defaultValue = ".",
      description = "Where schedule files are written (default: the current directory).")
  private Path output = Path.of(".");

  @Option(
      names = "--write-outcomes",
      description = "Write a schedule for each outcome, not only for what was found.")
  private boolean writesOutcomes;

  @Mixin private final ReportOptions report = new ReportOptions();

  @Override
  public Integer call() throws Exception {
    return backends.watching(this::explore);
  }

  private int explore() throws ScenarioException, IOException {
    check();
    ScenarioFile file = Bundled.explored(scenario, backends.known().names());
    KvmBackend chosen = backends.chosenOr(file.defaultBackend());
    Search search = search();
    Explorer explorer =
        new Explorer(
            file,
            chosen,
            search,
            carrier == null ? Carrier.best() : carrier,
            output,
            writesOutcomes);
    SavedParts saved = state == null ? null : SavedParts.in(state, file, chosen.name(), search);
    int most = workers == null ? Runtime.getRuntime().availableProcessors() : workers;
    ExploreReport explored =
        report.whileShowing(shown -> explorer.run(most, new Watcher(shown, saved)));
    report.print(explored, text -> ExploreText.of(text, backends.pathArguments()));
    return explored.held() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private void check() {
    require(failures >= 0, "--failures %d is negative", failures);
    require(schedules >= 1, "--schedules %d is not positive", schedules);
    require(steps >= 1, "--steps %d is not positive", steps);
    require(time == null || time >= 1, "--time %d is not positive", time);
    require(
        workers == null || (workers >= 1 && workers <= MOST_WORKERS),
        "--workers %d is not in [1, 64]",
        workers);
    if (carrier != null && !carrier.isUsable()) {
      throw new ParameterException(
          spec.commandLine(),
          "--carrier virtual needs JDK 24 or newer, this is " + Runtime.version().feature());
    }
    if (strategy != null) {
      require(
          strategy.preemptions == null || strategy.preemptions >= 0,
          "--preemptions %d is negative",
          strategy.preemptions);
      require(strategy.pct == null || strategy.pct >= 1, "--pct %d is not positive", strategy.pct);
    }
  }

  private void require(boolean condition, String format, @Nullable Number value) {
    if (!condition) {
      throw new ParameterException(spec.commandLine(), format.formatted(value));
    }
  }

  private Search search() {
    Search.Bounds bounds = new Search.Bounds(failures, steps, !tellsPagesApart);
    if (strategy == null) {
      return search(Search.Kind.EXHAUSTIVE, 0, 0, bounds);
    }
    if (strategy.preemptions != null) {
      return search(Search.Kind.BOUNDED, strategy.preemptions, 0, bounds);
    }
    return strategy.random || strategy.pct == null
        ? search(Search.Kind.RANDOM, 0, seed, bounds)
        : search(Search.Kind.PCT, strategy.pct, seed, bounds);
  }

  private Search search(Search.Kind kind, int bound, long itsSeed, Search.Bounds bounds) {
    return new Search(kind, bound, itsSeed, schedules, bounds, stopsAtFirst);
  }

  /** Shows how far the search is, keeps what is done, and ends it when its time is over. */
  private final class Watcher implements ExplorationWatcher {

    private final Progress shown;
    private final @Nullable SavedParts saved;
    private final Stopwatch watch = Stopwatch.createStarted();
    private long knownRuns;

    Watcher(Progress shown, @Nullable SavedParts saved) {
      this.shown = shown;
      this.saved = saved;
    }

    @Override
    public boolean mayGoOn(long runs, int partsDone, int parts) {
      double seconds = watch.elapsed(TimeUnit.MILLISECONDS) / 1000.0;
      shown.says(
          "%,d schedules, %,.0f/s, %d of %d parts done%s"
              .formatted(
                  runs,
                  (runs - knownRuns) / Math.max(seconds, 0.001),
                  partsDone,
                  parts,
                  left(seconds, runs, partsDone, parts)));
      return time == null || seconds < time;
    }

    /** How long it may still take: by the parts, or by what it may run, whatever is sooner. */
    private String left(double seconds, long runs, int partsDone, int parts) {
      double byRuns = runs == 0 ? 1 : (double) (schedules - runs) / runs;
      double byParts = partsDone == 0 ? byRuns : (double) (parts - partsDone) / partsDone;
      double estimate = seconds * Math.min(byRuns, byParts);
      double bounded = time == null ? estimate : Math.min(estimate, time - seconds);
      return ", at most about %,.0f s left".formatted(Math.max(0, bounded));
    }

    @Override
    public @Nullable ExplorationResult known(int part) {
      ExplorationResult result = saved == null ? null : saved.known(part);
      knownRuns += result == null ? 0 : result.schedules() + result.pruned();
      return result;
    }

    @Override
    public void done(int part, ExplorationResult result) {
      if (saved != null) {
        saved.add(part, result);
      }
    }
  }
}
