package dev.septum.lab;

import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.report.FtraceFile;
import dev.septum.lab.run.RunReport;
import dev.septum.lab.run.RunText;
import dev.septum.lab.run.ScenarioRun;
import dev.septum.lab.scenario.BackendCheck;
import dev.septum.lab.scenario.Counters;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.ScenarioReader;
import dev.septum.lab.scenario.ScenarioReference;
import dev.septum.lab.scenario.ScenarioSchema;
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

/** {@code septum run}: runs scenario files. Every file is read before the first one runs. */
@Command(
    name = "run",
    description = "Runs scenario files: hosts, VMs, guests and what happens to them.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    footer = {"", "docs/scenarios.md describes the language; lab/scenarios has examples."},
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:every expectation and every invariant held, and every page is back",
      "1:something was found",
      "2:wrong usage, or a file that is no scenario; nothing was run"
    })
final class RunCommand implements Callable<Integer> {

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(paramLabel = "FILE", arity = "0..*", description = "Scenario files.")
  private List<Path> files = new ArrayList<>();

  @Mixin private final BackendOptions backends = new BackendOptions();

  @Option(names = "--check", description = "Only read the files.")
  private boolean check;

  @Option(
      names = "--json",
      description = "Report as JSON: an object for one FILE, an array for several.")
  private boolean json;

  @Option(
      names = "--trace",
      paramLabel = "TRACE",
      description = "Write the trace events of the run of one FILE to TRACE as ftrace text.")
  private @Nullable Path trace;

  @Option(names = "--schema", description = "Print the JSON schema of scenario files, for editors.")
  private boolean schema;

  @Option(
      names = "--reference",
      description = "Print the keys, values and counters of scenario files as Markdown.")
  private boolean reference;

  @Option(names = "--counters", description = "Print the names that stats and growth can have.")
  private boolean counters;

  @Override
  public Integer call() throws Exception {
    return backends.watching(this::runAll);
  }

  private int runAll() throws ScenarioException, IOException {
    if (schema || reference || counters) {
      Stdout.print(
          spec,
          schema ? ScenarioSchema.text() : reference ? ScenarioReference.text() : Counters.text());
      return ExitCode.OK;
    }
    if (files.isEmpty()) {
      throw new ParameterException(spec.commandLine(), "a FILE is missing");
    }
    if (trace != null && files.size() > 1) {
      throw new ParameterException(
          spec.commandLine(), "--trace takes one FILE, not " + files.size());
    }
    List<ScenarioFile> scenarios = ScenarioReader.readAll(files, backends.known().names());
    if (check) {
      return ExitCode.OK;
    }
    for (ScenarioFile scenario : scenarios) {
      BackendCheck.checkAll(scenario, backends.chosenOr(scenario.defaultBackend()));
    }
    List<RunReport> reports = new ArrayList<>();
    for (ScenarioFile scenario : scenarios) {
      reports.add(run(scenario));
    }
    Stdout.print(spec, json, reports, RunText::of);
    return reports.stream().allMatch(RunReport::held) ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private RunReport run(ScenarioFile scenario) throws ScenarioException, IOException {
    KvmBackend chosen = backends.chosenOr(scenario.defaultBackend());
    if (trace == null) {
      return ScenarioRun.run(scenario, chosen, TraceSink.OFF);
    }
    try (FtraceFile sink = FtraceFile.create(trace)) {
      RunReport report = ScenarioRun.run(scenario, chosen, sink);
      sink.commit();
      return report;
    }
  }
}
