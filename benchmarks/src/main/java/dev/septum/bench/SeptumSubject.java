package dev.septum.bench;

import dev.septum.kernel.schedule.Carrier;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.tdx.SplitCacheProgram;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.LongAdder;

/**
 * Our exploration of the protocol, in a JVM of its own. Arguments: {@code real} or {@code counted}
 * pages, carrier, {@code first} or {@code complete}, {@code random}, {@code pct} or {@code
 * exhaustive}, how often, the most schedules. Without any it says which JDK this is, and which
 * carriers there are.
 */
final class SeptumSubject {

  private static final int ACTORS = 2;

  /** The order of two steps decides whether the mutant fails. */
  private static final int PCT_DEPTH = 2;

  private final boolean isCounted;
  private final Carrier carrier;
  private final String strategy;
  private final long mostSchedules;
  private final LongAdder steps = new LongAdder();

  private SeptumSubject(boolean isCounted, Carrier carrier, String strategy, long mostSchedules) {
    this.isCounted = isCounted;
    this.carrier = carrier;
    this.strategy = strategy;
    this.mostSchedules = mostSchedules;
  }

  public static void main(String[] args) {
    if (args.length == 0) {
      System.out.println("java " + Runtime.version().feature() + " " + usableCarriers());
      return;
    }
    SeptumSubject subject =
        new SeptumSubject(
            args[0].equals("counted"), Carrier.valueOf(args[1]), args[3], Long.parseLong(args[5]));
    int rounds = Integer.parseInt(args[4]);
    for (int round = 0; round < rounds; round++) {
      if (args[2].equals("first")) {
        subject.first(round);
      } else {
        subject.complete();
      }
    }
  }

  private static List<Carrier> usableCarriers() {
    return Arrays.stream(Carrier.values()).filter(Carrier::isUsable).toList();
  }

  private void first(int seed) {
    Exploration exploration = exploration(false).stopAtFirst();
    long start = System.nanoTime();
    ExplorationResult result =
        switch (strategy) {
          case "random" -> exploration.random(seed);
          case "pct" -> exploration.pct(seed, PCT_DEPTH);
          default -> exploration.exhaustive();
        };
    long nanos = System.nanoTime() - start;
    if (result.isSound()) {
      throw new IllegalStateException("the mutant was not found: " + result);
    }
    Mark.FIRST.print(nanos, result.schedules() + result.pruned(), steps.sum());
  }

  private void complete() {
    int processors = Runtime.getRuntime().availableProcessors();
    Exploration exploration = exploration(true).mostSchedules(mostSchedules).workers(processors);
    long start = System.nanoTime();
    ExplorationResult result = exploration.exhaustive();
    long nanos = System.nanoTime() - start;
    if (!result.isSound()) {
      throw new IllegalStateException("a failure where there is none: " + result);
    }
    Mark mark = result.isComplete() ? Mark.COMPLETE : Mark.BOUNDED;
    mark.print(nanos, result.schedules() + result.pruned(), steps.sum());
  }

  private Exploration exploration(boolean checksAgain) {
    steps.reset();
    Program program =
        isCounted
            ? new CountedCacheProgram(ACTORS, ACTORS, checksAgain)
            : new SplitCacheProgram(ACTORS, ACTORS, checksAgain);
    return Exploration.of(kernel -> countingSteps(program, kernel))
        .on(carrier)
        .pagesAreAlike()
        .mostFailures(1);
  }

  private void countingSteps(Program program, ScheduledKernel kernel) {
    try {
      program.run(kernel);
    } finally {
      steps.add(kernel.steps());
    }
  }
}
