package dev.septum.lab.run;

import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.Step;

/** The host of a scenario, on which somebody else has steps done and judges what comes of them. */
public final class Stage {

  private final ScenarioHost host;
  private final StepRunner steps;

  /** Sets the host of a scenario up. */
  public Stage(ScenarioFile file, KvmBackend backend, TraceSink trace) throws ScenarioException {
    host = ScenarioHost.of(new HookedKernel(), file, backend, trace);
    Findings ignored = new Findings(file);
    steps = new StepRunner(host, new ExpectationCheck(host, ignored), ignored);
  }

  /** The host. */
  public ScenarioHost host() {
    return host;
  }

  /** Does a step; {@code at} is where it is in the file. */
  public StepResult perform(String at, Step step) {
    return steps.perform(at, step);
  }
}
