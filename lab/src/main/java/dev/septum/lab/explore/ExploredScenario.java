package dev.septum.lab.explore;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.backend.Machine;
import dev.septum.lab.run.QuietLog;
import dev.septum.lab.run.RunReport;
import dev.septum.lab.run.ScenarioRun;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** A scenario as a program: one run of it from the set-up of its host to the last page's return. */
final class ExploredScenario implements Program {

  /** What a run found; its message is the first finding. */
  static final class FoundException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    FoundException(String message) {
      // Where it was thrown says nothing: it is where the run was judged.
      super(message, null, false, false);
    }
  }

  private static final Pattern BUGGED = Pattern.compile("KVM_BUG_ON\\(.*\\) at \\S+");

  private final ScenarioFile file;
  private final KvmBackend backend;

  ExploredScenario(ScenarioFile file, KvmBackend backend) {
    this.file = file;
    this.backend = backend;
  }

  @Override
  public void run(ScheduledKernel kernel) {
    QuietLog.quiet(() -> runQuietly(kernel)).run();
  }

  private void runQuietly(ScheduledKernel kernel) {
    ActorPhases phases = new ActorPhases(kernel);
    RunReport report;
    try {
      report = ScenarioRun.run(quiet(kernel), file, backend, traceOf(kernel), phases);
    } catch (ScenarioException e) {
      throw new IllegalStateException("a host could be set up once and not again", e);
    }
    kernel.outcome(phases.outcome());
    ImmutableList<String> findings =
        Stream.concat(
                report.allFindings().stream().map(f -> "line " + f.line() + ": " + f.text()),
                phases.findings().stream())
            .collect(ImmutableList.toImmutableList());
    findings.forEach(finding -> kernel.note("FOUND " + finding));
    if (!findings.isEmpty()) {
      throw new FoundException(causeOf(findings));
    }
  }

  /** What is told first: where no module can be to blame, why the backend has the VM bugged. */
  private String causeOf(List<String> findings) {
    boolean blamesBackend = Machine.designOf(backend) == null;
    return findings.stream()
        .flatMap(finding -> BUGGED.matcher(finding).results().map(MatchResult::group))
        .filter(bugged -> blamesBackend)
        .findFirst()
        .orElse(findings.get(0));
  }

  private static Kernel quiet(Kernel kernel) {
    return new ForwardingKernel(kernel) {
      @Override
      public KernelThread spawn(String name, Runnable body) {
        return super.spawn(name, QuietLog.quiet(body));
      }
    };
  }

  /** Events become notes of the thread that they happen in, if somebody looks. */
  private static TraceSink traceOf(ScheduledKernel kernel) {
    if (!kernel.keepsNotes()) {
      return TraceSink.OFF;
    }
    return new TraceSink() {
      @Override
      public boolean isOn() {
        kernel.beginNote();
        return true;
      }

      @Override
      public void event(String name, String fields) {
        kernel.note(name + ": " + fields);
      }
    };
  }
}
