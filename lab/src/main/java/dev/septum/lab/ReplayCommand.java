package dev.septum.lab;

import dev.septum.kernel.schedule.Carrier;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.explore.ReplayText;
import dev.septum.lab.explore.Replayed;
import dev.septum.lab.report.JsonReport;
import dev.septum.lab.scenario.ScenarioException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code septum replay}: one schedule, step by step. */
@Command(
    name = "replay",
    description =
        "Runs a schedule that septum explore wrote once more, and shows what each thread does,"
            + " side by side.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:the schedule came to what it had come to, and nothing was found",
      "1:the same was found in the same step as before",
      "2:wrong usage, a file that is no schedule, or one that this Septum does not follow"
    })
final class ReplayCommand implements Callable<Integer> {

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(paramLabel = "FILE", description = "A file that septum explore wrote.")
  @SuppressWarnings("NullAway.Init")
  private Path file;

  @Mixin private final BackendOptions backends = new BackendOptions();

  @Option(names = "--json", description = "Report as JSON.")
  private boolean json;

  @Override
  public Integer call() throws Exception {
    return backends.watching(this::replay);
  }

  private int replay() throws ScenarioException, IOException {
    Replayed replayed = Replayed.of(file, backends.known().names(), this::backend, Carrier.best());
    Stdout.print(spec, json ? JsonReport.of(replayed) : ReplayText.of(replayed));
    return replayed.held() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  /** The backend that is chosen instead of the one that the file names. */
  private KvmBackend backend(String named) {
    return backends.name() == null ? backends.known().named(named) : backends.chosenOr(named);
  }
}
