package dev.septum.lab.run;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.run.RunReport.Found;
import dev.septum.lab.run.RunReport.PhaseReport;
import dev.septum.lab.run.RunReport.StepReport;
import dev.septum.lab.scenario.BackendCheck;
import dev.septum.lab.scenario.Phase;
import dev.septum.lab.scenario.Scenario;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.Step;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;

/** One run of a scenario, from the set-up of its host to the last page's return. */
public final class ScenarioRun {

  private final ScenarioFile file;
  private final ScenarioHost host;
  private final Findings findings;
  private final ExpectationCheck expectations;
  private final StepRunner steps;
  private final ConcurrentPhases watcher;

  /** Whether a phase was disturbed: then the run ends with it. */
  private boolean disturbed;

  private ScenarioRun(
      HookedKernel kernel,
      ScenarioFile file,
      KvmBackend backend,
      TraceSink trace,
      ConcurrentPhases watcher)
      throws ScenarioException {
    BackendCheck.checkAll(file, backend);
    this.file = file;
    this.watcher = watcher;
    this.host = ScenarioHost.of(kernel, file, backend, trace);
    this.findings = new Findings(file);
    this.expectations = new ExpectationCheck(host, findings);
    this.steps = new StepRunner(host, expectations, findings);
  }

  /**
   * Runs a scenario.
   *
   * @throws ScenarioException if its host or its VMs cannot be set up as it says
   */
  public static RunReport run(ScenarioFile file, KvmBackend backend, TraceSink trace)
      throws ScenarioException {
    return new ScenarioRun(new HookedKernel(), file, backend, trace, ConcurrentPhases.UNWATCHED)
        .run();
  }

  /**
   * Runs a scenario on a kernel that bounds what its threads do by itself.
   *
   * @throws ScenarioException if its host or its VMs cannot be set up as it says
   */
  public static RunReport run(
      Kernel kernel,
      ScenarioFile file,
      KvmBackend backend,
      TraceSink trace,
      ConcurrentPhases watcher)
      throws ScenarioException {
    return new ScenarioRun(new HookedKernel(kernel), file, backend, trace, watcher).run();
  }

  private RunReport run() {
    Scenario scenario = file.scenario();
    List<PhaseReport> phases = new ArrayList<>();
    for (int i = 0; i < scenario.phases().size() && !disturbed; i++) {
      phases.add(run("/phases/" + i, i + 1, scenario.phases().get(i)));
    }
    if (!disturbed) {
      expectations.checkLeft(host.tearDown());
    }
    return RunReport.of(
        file.name(), scenario.scenario(), host.backend(), phases, found(findings.take()));
  }

  private PhaseReport run(String at, int number, Phase phase) {
    expectations.beginPhase();
    List<StepReport> done = new ArrayList<>();
    int repeat = phase.repeat();
    for (int round = 0; round < repeat; round++) {
      List<StepReport> once = once(at, phase);
      if (round == 0) {
        done.addAll(once);
      }
      if (disturbed) {
        findings.take();
        return new PhaseReport(nameOf(number, phase), done, List.of());
      }
    }
    for (int i = 0; i < phase.expect().size(); i++) {
      expectations.check(at + "/expect/" + i, phase.expect().get(i));
    }
    expectations.checkInvariants(at);
    return new PhaseReport(nameOf(number, phase), done, found(findings.take()));
  }

  private static String nameOf(int number, Phase phase) {
    String name = phase.name() == null ? "phase " + number : phase.name();
    return phase.repeat() == 1 ? name : "%s (%d times)".formatted(name, phase.repeat());
  }

  private static ImmutableList<Found> found(List<Findings.Finding> findings) {
    return findings.stream()
        .map(finding -> new Found(finding.line(), finding.text()))
        .collect(ImmutableList.toImmutableList());
  }

  private List<StepReport> once(String at, Phase phase) {
    Map<String, List<Step>> actors = phase.concurrently();
    if (actors == null) {
      return sequence(at + "/steps", null, phase.steps() == null ? List.of() : phase.steps());
    }
    watcher.begins(host);
    Queue<List<StepReport>> done = new ConcurrentLinkedQueue<>();
    List<KernelThread> threads = new ArrayList<>();
    actors.forEach(
        (actor, its) ->
            threads.add(
                host.kernel()
                    .spawn(
                        actor,
                        () -> done.add(sequence(at + "/concurrently/" + actor, actor, its)))));
    threads.forEach(KernelThread::join);
    List<StepReport> reports =
        done.stream()
            .flatMap(List::stream)
            .sorted(
                Comparator.comparingInt(StepReport::line)
                    .thenComparing(step -> String.valueOf(step.actor())))
            .toList();
    disturbed = watcher.ended(host, reports);
    return reports;
  }

  private List<StepReport> sequence(String at, @Nullable String actor, List<Step> sequence) {
    List<StepReport> done = new ArrayList<>();
    for (int i = 0; i < sequence.size(); i++) {
      String place = at + "/" + i;
      Step step = sequence.get(i);
      StepResult result = steps.run(place, step);
      done.add(
          new StepReport(
              file.lineOf(place),
              actor,
              StepText.of(step),
              result.code(),
              result.detail().isEmpty() ? null : result.detail()));
    }
    return done;
  }
}
