package dev.septum.lab.scenario;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import dev.septum.kvm.Capability;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.VmType;
import dev.septum.lab.backend.Machine;
import dev.septum.tdx.TdxCounter;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Whether a scenario can be run on a backend. Nothing of it has run then. */
public final class BackendCheck {

  /** Counters of the TDX module's users. */
  private static final ImmutableSet<String> OF_THE_MODULE =
      ImmutableSet.copyOf(
          Sets.union(
              Arrays.stream(TdxCounter.values())
                  .map(TdxCounter::toString)
                  .collect(ImmutableSet.toImmutableSet()),
              Counters.OF_THE_HOST));

  private final Scenario scenario;
  private final KvmBackend backend;
  private final Refusals refusals;

  private BackendCheck(ScenarioFile file, KvmBackend backend) {
    this.scenario = file.scenario();
    this.backend = backend;
    this.refusals = new Refusals(file);
  }

  /**
   * Checks what happens in a scenario: its VMs and its steps, but not what it expects.
   *
   * @throws ScenarioException if the backend cannot do it; the message says where and why
   */
  public static void checkSteps(ScenarioFile file, KvmBackend backend) throws ScenarioException {
    BackendCheck check = new BackendCheck(file, backend);
    check.checkVms();
    check.visitAll(check::checkStep);
  }

  /**
   * Checks all of a scenario.
   *
   * @throws ScenarioException if the backend cannot do it, or does not count what is expected
   */
  public static void checkAll(ScenarioFile file, KvmBackend backend) throws ScenarioException {
    checkSteps(file, backend);
    BackendCheck check = new BackendCheck(file, backend);
    List<Phase> phases = check.scenario.phases();
    for (int i = 0; i < phases.size(); i++) {
      for (int j = 0; j < phases.get(i).expect().size(); j++) {
        check.checkExpectation(
            "/phases/%d/expect/%d".formatted(i, j), phases.get(i).expect().get(j));
      }
    }
    check.visitAll(
        (at, step) -> {
          if (step.expect() != null) {
            check.checkExpectation(at + "/expect", step.expect());
          }
        });
  }

  private void checkVms() throws ScenarioException {
    boolean hasPrivateMemory = backend.capabilities().contains(Capability.EXTERNAL_PAGE_TABLE);
    for (Map.Entry<String, VmSetup> vm : scenario.vms().entrySet()) {
      refusals.require(
          hasPrivateMemory || vm.getValue().type().type() != VmType.TDX,
          "/vms/" + vm.getKey() + "/type",
          "backend %s has no external page table, which a VM of type tdx needs",
          backend.name());
    }
  }

  private boolean hasModule() {
    return Machine.designOf(backend) != null;
  }

  private interface Visitor {
    void visit(String at, Step step) throws ScenarioException;
  }

  private void visitAll(Visitor visitor) throws ScenarioException {
    for (int i = 0; i < scenario.phases().size(); i++) {
      Phase phase = scenario.phases().get(i);
      String at = "/phases/" + i;
      if (phase.steps() != null) {
        visit(at + "/steps", phase.steps(), visitor);
      }
      if (phase.concurrently() != null) {
        for (Map.Entry<String, List<Step>> actor : phase.concurrently().entrySet()) {
          visit(at + "/concurrently/" + actor.getKey(), actor.getValue(), visitor);
        }
      }
    }
  }

  private static void visit(String at, List<Step> steps, Visitor visitor) throws ScenarioException {
    for (int i = 0; i < steps.size(); i++) {
      Step step = steps.get(i);
      String its = at + "/" + i;
      visitor.visit(its, step);
      if (step.steps() != null) {
        visit(its + "/steps", step.steps(), visitor);
      }
      if (step.inject() != null && step.inject().steps() != null) {
        visit(its + "/inject/steps", step.inject().steps(), visitor);
      }
    }
  }

  private void checkStep(String at, Step step) throws ScenarioException {
    refusals.require(
        hasModule() || step.inject() == null || step.inject().seamcall() == null,
        at + "/inject/seamcall",
        "backend %s makes no SEAMCALLs that could fail",
        backend.name());
  }

  private void checkExpectation(String at, Expectation expectation) throws ScenarioException {
    if (hasModule() || !expectation.isFor(backend.name())) {
      return;
    }
    refusals.require(
        expectation.seamcalls().isEmpty(),
        at + "/seamcalls",
        "backend %s makes no SEAMCALLs; backends: [tdx] beside it says whom it is meant for",
        backend.name());
    checkCounters(at + "/stats", expectation.stats().keySet());
    checkCounters(at + "/growth", expectation.growth().keySet());
  }

  private void checkCounters(String at, Set<String> names) throws ScenarioException {
    for (String name : names) {
      refusals.require(
          !OF_THE_MODULE.contains(name),
          at + "/" + name,
          "%s is counted where there is a TDX module, and backend %s has none",
          name,
          backend.name());
    }
  }
}
