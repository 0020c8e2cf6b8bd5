package dev.septum.kernel.schedule;

import org.jspecify.annotations.Nullable;

/** A part of an exploration, which depends on no other part. Done by one thread at a time. */
final class Part {

  private final Strategy strategy;
  private final Tally tally = new Tally();

  /** Set last: who sees it sees all that was counted. */
  private volatile boolean complete;

  /** The run that is under way or was the last one, for one who looks on. */
  private volatile @Nullable ScheduledRun run;

  private volatile long runs;

  Part(Strategy strategy) {
    this.strategy = strategy;
  }

  /** A part that was done before. */
  static Part known(Strategy strategy, ExplorationResult result) {
    Part part = new Part(strategy);
    part.tally.add(result);
    part.runs = part.tally.runs();
    part.complete = true;
    return part;
  }

  /** Runs one schedule; false if there is none left. */
  boolean step(Program program, CarrierPool carriers, ScheduledRun.Limits limits) {
    if (!strategy.next()) {
      complete = true;
      return false;
    }
    ScheduledRun next = new ScheduledRun(strategy, carriers, limits);
    run = next;
    next.execute(program);
    tally.add(next, strategy);
    runs = tally.runs();
    return true;
  }

  boolean isComplete() {
    return complete;
  }

  boolean hasFailures() {
    return tally.hasFailures();
  }

  /** How many schedules were run, those that were pruned included. */
  long runs() {
    return runs;
  }

  @Nullable ScheduledRun run() {
    return run;
  }

  ExplorationResult result(String name) {
    return tally.result(name, complete);
  }
}
