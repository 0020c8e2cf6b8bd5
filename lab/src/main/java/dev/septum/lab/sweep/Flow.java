package dev.septum.lab.sweep;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.run.AfterFailures;
import dev.septum.lab.run.QuietLog;
import dev.septum.lab.run.ScenarioHost;
import dev.septum.lab.run.Stage;
import dev.septum.lab.run.StepResult;
import dev.septum.lab.scenario.Phase;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.Verb;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * The part of a scenario that is disturbed: a phase, run on a fresh host each time.
 *
 * <p>A step that does not come to what it came to undisturbed is done again, as user space would;
 * in the end everything must be as if nothing had happened, or the VM must be bugged.
 */
final class Flow {

  /** How often user space tries a step. */
  private static final int TRIES = 5;

  private final ScenarioFile file;
  private final KvmBackend backend;
  private final int phase;

  /** What is done in the flow; expectations are for undisturbed runs. */
  private final ImmutableList<Step> steps;

  /** What each step comes to and what there is in the end, undisturbed. */
  private final List<String> undisturbed = new ArrayList<>();

  private final MemoryState goal;
  private final MemoryState guestGoal;
  private final ImmutableList<Point> points;

  /** Runs the flow once, undisturbed. */
  Flow(ScenarioFile file, KvmBackend backend, int phase) throws ScenarioException {
    this.file = file;
    this.backend = backend;
    this.phase = phase;
    this.steps =
        stepsOf(file.scenario().phases().get(phase)).stream()
            .filter(step -> step.verb() != Verb.EXPECT)
            .collect(ImmutableList.toImmutableList());
    Stage stage = prepared();
    Disturber watcher = new Disturber(stage.host(), Plan.NONE);
    watcher.start();
    for (int i = 0; i < steps.size(); i++) {
      undisturbed.add(stage.perform(place(i), steps.get(i)).code());
    }
    watcher.stop();
    this.points = ImmutableList.copyOf(watcher.passed());
    this.goal = MemoryState.byLeaf(stage.host());
    this.guestGoal = MemoryState.byGuestFrame(stage.host());
    stage.host().tearDown();
  }

  /** The points that it passes undisturbed, in their order. */
  ImmutableList<Point> points() {
    return points;
  }

  private String place(int step) {
    return "/phases/%d/steps/%d".formatted(phase, step);
  }

  private static List<Step> stepsOf(Phase phase) {
    return phase.steps() == null ? List.of() : phase.steps();
  }

  /** A host on which everything before the flow has happened. */
  private Stage prepared() throws ScenarioException {
    Stage stage = new Stage(file, backend, TraceSink.OFF);
    for (int i = 0; i < phase; i++) {
      Phase before = file.scenario().phases().get(i);
      List<Step> earlier = stepsOf(before);
      for (int round = 0; round < before.repeat(); round++) {
        for (int j = 0; j < earlier.size(); j++) {
          stage.perform("/phases/%d/steps/%d".formatted(i, j), earlier.get(j));
        }
      }
    }
    stage.host().kernel().rcu().barrier();
    return stage;
  }

  /** Runs the flow once more, disturbed as planned. */
  Outcome run(Plan plan) {
    return QuietLog.during(() -> runQuietly(plan));
  }

  private Outcome runQuietly(Plan plan) {
    Stage stage;
    try {
      stage = prepared();
    } catch (ScenarioException e) {
      throw new IllegalStateException("a host could be set up once and not again", e);
    }
    ScenarioHost host = stage.host();
    Disturber disturber = new Disturber(host, plan);
    Set<String> findings = new LinkedHashSet<>();
    disturber.start();
    String kind;
    try {
      kind = runSteps(stage, findings);
    } finally {
      disturber.stop();
    }
    AfterFailures after = new AfterFailures(host, plan::disturbs);
    findings.addAll(after.findings());
    boolean bugged = after.isBugged();
    if (bugged) {
      kind = after.kind();
    } else {
      String difference = goalOf(plan).differenceTo(stateOf(host, plan));
      if (!difference.isEmpty()) {
        findings.add("in the end there is another state than undisturbed: " + difference);
      }
    }
    findings.addAll(after.tearDown());
    kind += after.lost();
    return new Outcome(
        kind,
        ImmutableList.copyOf(findings),
        ImmutableList.copyOf(disturber.passed()),
        disturber.isDone());
  }

  /** With other folios than were asked for only the guest's view is the same. */
  private MemoryState goalOf(Plan plan) {
    return plan.disturbs(PageOwner.GUEST_MEMORY.tag()) ? guestGoal : goal;
  }

  private static MemoryState stateOf(ScenarioHost host, Plan plan) {
    return plan.disturbs(PageOwner.GUEST_MEMORY.tag())
        ? MemoryState.byGuestFrame(host)
        : MemoryState.byLeaf(host);
  }

  /** Does every step until it comes to what it should; returns the first other result. */
  private String runSteps(Stage stage, Set<String> findings) {
    String kind = Outcome.ABSORBED;
    for (int i = 0; i < steps.size(); i++) {
      for (int tries = 1; ; tries++) {
        MemoryState before =
            isAllOrNothing(steps.get(i)) ? MemoryState.byFrame(stage.host()) : null;
        StepResult result = stage.perform(place(i), steps.get(i));
        if (result.code().equals(undisturbed.get(i)) || AfterFailures.isBugged(stage.host())) {
          break;
        }
        kind = kind.equals(Outcome.ABSORBED) ? result.code() : kind;
        String changed =
            before == null ? "" : before.differenceTo(MemoryState.byFrame(stage.host()));
        if (!changed.isEmpty()) {
          findings.add("%s, and yet it changed: %s".formatted(result.code(), changed));
        }
        if (tries == TRIES) {
          findings.add(
              "still %s when it is done for the %dth time".formatted(result.code(), tries));
          break;
        }
      }
    }
    return kind;
  }

  /** Whether a step that fails must have changed nothing that can be seen in memory. */
  private static boolean isAllOrNothing(Step step) {
    return switch (step.verb()) {
      case SET_ATTRIBUTES, PUNCH_HOLE, SPLIT, TOPUP_SPLIT_CACHE -> true;
      default -> false;
    };
  }
}
