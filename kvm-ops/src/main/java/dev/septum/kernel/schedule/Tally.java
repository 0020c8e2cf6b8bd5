package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
import java.util.LinkedHashMap;
import java.util.Map;

/** Counts runs, and keeps one of each kind. */
final class Tally {

  /** Runs that came to the same, and the one of them that is shown. */
  private static final class Group<T> {
    long count;
    T what;
    Schedule schedule;
    int preemptions;

    Group(T what, Schedule schedule, int preemptions) {
      this.what = what;
      this.schedule = schedule;
      this.preemptions = preemptions;
    }

    /** The first of those with the fewest preemptions and choices is shown. */
    boolean isWorseThan(int otherPreemptions, int choices) {
      return otherPreemptions < preemptions
          || (otherPreemptions == preemptions && choices < schedule.choices().size());
    }
  }

  private final Map<String, Group<String>> outcomes = new LinkedHashMap<>();
  private final Map<String, Group<Finding>> failures = new LinkedHashMap<>();
  private long schedules;
  private long pruned;
  private long points;
  private long states;
  private int deepest;

  long runs() {
    return schedules + pruned;
  }

  boolean hasFailures() {
    return !failures.isEmpty();
  }

  /** Counts a run of the one strategy that this is a tally of. */
  void add(ScheduledRun run, Strategy strategy) {
    Trace trace = run.trace();
    deepest = Math.max(deepest, trace.steps());
    points += trace.steps();
    states = strategy.states();
    if (run.isPruned()) {
      pruned++;
      return;
    }
    schedules++;
    Finding finding = run.finding();
    if (finding == null && strategy instanceof Replay replay && !replay.isUsedUp()) {
      finding = Finding.divergence("the program ends before the schedule does");
    }
    String outcome = run.outcome();
    if (finding != null) {
      add(failures, finding.kind() + finding.cause(), finding, trace);
    } else if (outcome != null) {
      add(outcomes, outcome, outcome, trace);
    }
  }

  private static <T> void add(Map<String, Group<T>> groups, String key, T what, Trace trace) {
    Group<T> known = groups.get(key);
    if (known == null || known.isWorseThan(trace.preemptions(), trace.choices())) {
      add(groups, key, what, trace.schedule(), trace.preemptions(), 1);
    } else {
      known.count++;
    }
  }

  private static <T> void add(
      Map<String, Group<T>> groups,
      String key,
      T what,
      Schedule schedule,
      int preemptions,
      long count) {
    Group<T> group = groups.computeIfAbsent(key, k -> new Group<>(what, schedule, preemptions));
    group.count += count;
    if (group.isWorseThan(preemptions, schedule.choices().size())) {
      group.what = what;
      group.schedule = schedule;
      group.preemptions = preemptions;
    }
  }

  /** A run was given up before it had begun to be its own. */
  void addPruned(long count) {
    pruned += count;
  }

  void addStates(long count) {
    states += count;
  }

  /** Adds what came after this. */
  void add(ExplorationResult later) {
    schedules += later.schedules();
    pruned += later.pruned();
    points += later.points();
    states += later.states();
    deepest = Math.max(deepest, later.deepest());
    for (ExplorationResult.Outcome o : later.outcomes()) {
      add(outcomes, o.text(), o.text(), o.schedule(), o.preemptions(), o.count());
    }
    for (ExplorationResult.Failure f : later.failures()) {
      String key = f.finding().kind() + f.finding().cause();
      add(failures, key, f.finding(), f.schedule(), f.preemptions(), f.count());
    }
  }

  ExplorationResult result(String strategy, boolean isComplete) {
    ImmutableList.Builder<ExplorationResult.Outcome> met = ImmutableList.builder();
    outcomes
        .values()
        .forEach(
            o ->
                met.add(new ExplorationResult.Outcome(o.what, o.count, o.schedule, o.preemptions)));
    ImmutableList.Builder<ExplorationResult.Failure> found = ImmutableList.builder();
    failures
        .values()
        .forEach(
            f ->
                found.add(
                    new ExplorationResult.Failure(f.what, f.count, f.schedule, f.preemptions)));
    return new ExplorationResult(
        strategy,
        schedules,
        pruned,
        points,
        states,
        deepest,
        isComplete,
        met.build(),
        found.build());
  }
}
