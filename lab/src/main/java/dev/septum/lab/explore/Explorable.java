package dev.septum.lab.explore;

import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.run.Stage;
import dev.septum.lab.scenario.BackendCheck;
import dev.septum.lab.scenario.Phase;
import dev.septum.lab.scenario.Scenario;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.VcpuName;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Which scenarios can be explored: those with actors, whose order nothing else decides. */
final class Explorable {

  private final ScenarioFile file;

  private Explorable(ScenarioFile file) {
    this.file = file;
  }

  /**
   * Checks that a scenario can be explored, and that its host can be set up.
   *
   * @throws ScenarioException if not; the message says where and why
   */
  static void check(ScenarioFile file, KvmBackend backend) throws ScenarioException {
    new Explorable(file).check();
    BackendCheck.checkAll(file, backend);
    new Stage(file, backend, TraceSink.OFF).host().tearDown();
  }

  private void check() throws ScenarioException {
    Scenario scenario = file.scenario();
    boolean hasActors = false;
    for (int i = 0; i < scenario.phases().size(); i++) {
      Phase phase = scenario.phases().get(i);
      String at = "/phases/" + i;
      if (phase.steps() != null) {
        checkSteps(at + "/steps", phase.steps());
      }
      if (phase.concurrently() != null) {
        hasActors = true;
        checkActors(at + "/concurrently", phase.concurrently());
      }
    }
    if (!hasActors) {
      throw new ScenarioException(
          "%s: no phase has concurrently: without actors there is one schedule, which septum run"
                  .formatted(file.name())
              + " runs");
    }
  }

  private void checkActors(String at, Map<String, List<Step>> actors) throws ScenarioException {
    Map<VcpuName, String> users = new HashMap<>();
    for (Map.Entry<String, List<Step>> actor : actors.entrySet()) {
      String itsAt = at + "/" + actor.getKey();
      checkSteps(itsAt, actor.getValue());
      checkVcpus(itsAt, actor.getKey(), actor.getValue(), users);
    }
  }

  /** Two threads cannot be in one vCPU: who came second would wait in user space. */
  private void checkVcpus(String at, String actor, List<Step> steps, Map<VcpuName, String> users)
      throws ScenarioException {
    for (int i = 0; i < steps.size(); i++) {
      Step step = steps.get(i);
      if (step.vcpu() != null) {
        VcpuName vcpu = VcpuName.parse(step.vcpu(), file.scenario().vms().keySet());
        String user = vcpu == null ? null : users.putIfAbsent(vcpu, actor);
        if (user != null && !user.equals(actor)) {
          throw refused(
              at + "/" + i + "/vcpu",
              "vCPU %s is actor %s's already; each needs its own".formatted(step.vcpu(), user));
        }
      }
      if (step.steps() != null) {
        checkVcpus(at + "/" + i + "/steps", actor, step.steps(), users);
      }
    }
  }

  private void checkSteps(String at, List<Step> steps) throws ScenarioException {
    for (int i = 0; i < steps.size(); i++) {
      Step step = steps.get(i);
      if (step.inject() != null && step.inject().before() != null) {
        throw refused(
            at + "/" + i + "/inject/before",
            "before chooses an order by itself; to have all of them, make its steps an actor");
      }
      if (step.steps() != null) {
        checkSteps(at + "/" + i + "/steps", step.steps());
      }
    }
  }

  private ScenarioException refused(String at, String why) {
    return new ScenarioException(file.placeOf(at) + ": " + why);
  }
}
