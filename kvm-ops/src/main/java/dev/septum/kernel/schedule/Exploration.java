package dev.septum.kernel.schedule;

import static com.google.common.base.Preconditions.checkArgument;
import static java.util.Objects.requireNonNull;

import com.google.common.collect.ImmutableList;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Runs a {@link Program} under many schedules. An object of this class is a choice of bounds, and
 * never changes: each bound gives another object.
 *
 * <p>Limits. Threads see every access in one order (no store buffers). Fields that are neither a
 * shared word nor an entry are not watched: what guards them must be a lock of the kernel. A
 * release is no scheduling point, as nothing can come between it and the releaser's next point that
 * could not come after that. A thread that gives way again, having looked at the same unchanged
 * things, waits until one of them has changed or nobody else can go.
 */
public final class Exploration {

  private static final long MOST_SCHEDULES = 1_000_000;
  private static final int MOST_STEPS = 20_000;
  private static final long PATIENCE_SECONDS = 30;

  private final Program program;
  private final Carrier carrier;
  private final long mostSchedules;
  private final ScheduledRun.Limits limits;
  private final boolean stopsAtFirst;

  private Exploration(
      Program program,
      Carrier carrier,
      long mostSchedules,
      ScheduledRun.Limits limits,
      boolean stopsAtFirst) {
    this.program = program;
    this.carrier = carrier;
    this.mostSchedules = mostSchedules;
    this.limits = limits;
    this.stopsAtFirst = stopsAtFirst;
  }

  /** Explorations of a program, with bounds that fit small ones. */
  public static Exploration of(Program program) {
    return new Exploration(
        program,
        Carrier.best(),
        MOST_SCHEDULES,
        new ScheduledRun.Limits(MOST_STEPS, 0, false),
        false);
  }

  /** With emulated threads on other carriers: the schedules are the same. */
  public Exploration on(Carrier other) {
    checkArgument(other.isUsable(), "carrier %s is not usable on this JVM", other);
    return new Exploration(program, other, mostSchedules, limits, stopsAtFirst);
  }

  /** With another bound on the number of runs, those that are pruned included. */
  public Exploration mostSchedules(long most) {
    checkArgument(most >= 1, "%s schedules are none", most);
    return new Exploration(program, carrier, most, limits, stopsAtFirst);
  }

  /** With another bound on the steps of a run: one that takes more is a livelock. */
  public Exploration mostSteps(int most) {
    checkArgument(most >= 1, "%s steps are none", most);
    return new Exploration(
        program,
        carrier,
        mostSchedules,
        new ScheduledRun.Limits(most, limits.failures(), limits.pagesAreAlike()),
        stopsAtFirst);
  }

  /** With up to {@code most} injected failures in a run ({@link ScheduledKernel#mayFail}). */
  public Exploration mostFailures(int most) {
    checkArgument(most >= 0, "a run cannot have %s failures", most);
    return new Exploration(
        program,
        carrier,
        mostSchedules,
        new ScheduledRun.Limits(limits.steps(), most, limits.pagesAreAlike()),
        stopsAtFirst);
  }

  /**
   * With pages that are all alike: the order of allocations and frees makes no difference by
   * itself. Right where memory does not run out and no page's place decides anything.
   */
  public Exploration pagesAreAlike() {
    return new Exploration(
        program,
        carrier,
        mostSchedules,
        new ScheduledRun.Limits(limits.steps(), limits.failures(), true),
        stopsAtFirst);
  }

  /** Ends with the first run that fails. */
  public Exploration stopAtFirst() {
    return new Exploration(program, carrier, mostSchedules, limits, true);
  }

  /** Every schedule that can make a difference (depth first, partial order reduction). */
  public ExplorationResult exhaustive() {
    DepthFirst search = new DepthFirst(DepthFirst.Reduction.PARTIAL_ORDER, Integer.MAX_VALUE);
    return explore("exhaustive", search);
  }

  /** Every schedule, also those that cannot make a difference. For small programs only. */
  public ExplorationResult everyInterleaving() {
    return explore(
        "every interleaving", new DepthFirst(DepthFirst.Reduction.NONE, Integer.MAX_VALUE));
  }

  /** Every schedule in which a thread that could go on is made to wait {@code most} times. */
  public ExplorationResult preemptionBounded(int most) {
    checkArgument(most >= 0, "a schedule cannot have %s preemptions", most);
    return explore(
        "up to " + most + " preemptions", new DepthFirst(DepthFirst.Reduction.NONE, most));
  }

  /** As many schedules at random as the bound allows. */
  public ExplorationResult random(long seed) {
    return explore("random, seed " + seed, new RandomWalk(seed));
  }

  /**
   * As many schedules as the bound allows, likely to meet a fault that takes {@code depth} orders.
   */
  public ExplorationResult pct(long seed, int depth) {
    checkArgument(depth >= 1, "a fault of depth %s needs no schedule", depth);
    return explore("pct, depth " + depth + ", seed " + seed, new PriorityWalk(seed, depth));
  }

  /** One schedule once more. A program that does not follow it fails, saying where. */
  public ExplorationResult replay(Schedule schedule) {
    return explore("replay", new Replay(schedule));
  }

  /**
   * A schedule with as few preemptions, and then as short, as can be had by simplifying that of a
   * failure step by step; it fails for the same cause. The failure itself if it does not fail any
   * more when it is replayed.
   */
  public ExplorationResult.Failure shrink(ExplorationResult.Failure failure) {
    ScheduledRun failing = runOnce(new Replay(failure.schedule()));
    Finding finding = failing.finding();
    if (finding == null || !finding.isLike(failure.finding())) {
      return failure;
    }
    ScheduledRun shrunk = new Shrinker(this::runOnce, failing).shrink();
    Finding found = shrunk.finding();
    return new ExplorationResult.Failure(
        found == null ? finding : found,
        failure.count(),
        shrunk.trace().schedule(),
        shrunk.trace().preemptions());
  }

  private ScheduledRun runOnce(Strategy strategy) {
    Searcher searcher = search("one run", strategy);
    searcher.result();
    return searcher.lastRun();
  }

  private ExplorationResult explore(String name, Strategy strategy) {
    return search(name, strategy).result();
  }

  private Searcher search(String name, Strategy strategy) {
    Searcher searcher = new Searcher(name, strategy);
    Thread driver = carrier.factory().newThread(searcher);
    driver.start();
    watch(driver, searcher);
    return searcher;
  }

  /** Waits for the search, and gives up on one that no scheduling point is reached in any more. */
  private static void watch(Thread driver, Searcher searcher) {
    long progress = -1;
    long since = System.nanoTime();
    while (driver.isAlive()) {
      try {
        driver.join(TimeUnit.SECONDS.toMillis(1));
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("interrupted while exploring", e);
      }
      long now = searcher.progress();
      if (now != progress) {
        progress = now;
        since = System.nanoTime();
      } else if (System.nanoTime() - since > TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS)) {
        throw new IllegalStateException(
            "a thread has reached no scheduling point for %d s; it is%n%s"
                .formatted(PATIENCE_SECONDS, searcher.whereabouts()));
      }
    }
  }

  /** Runs one schedule after another, as the carrier of the program's own thread. */
  private final class Searcher implements Runnable {

    private final String name;
    private final Strategy strategy;
    private final Map<String, ExplorationResult.Failure> failures = new LinkedHashMap<>();
    private long schedules;
    private long pruned;
    private int deepest;
    private boolean complete;
    private volatile @Nullable ScheduledRun run;
    private long runs;
    private volatile @Nullable Throwable broken;

    Searcher(String name, Strategy strategy) {
      this.name = name;
      this.strategy = strategy;
    }

    @Override
    public void run() {
      CarrierPool carriers = new CarrierPool(carrier);
      try {
        while (schedules + pruned < mostSchedules && !(stopsAtFirst && !failures.isEmpty())) {
          if (!strategy.next()) {
            complete = true;
            return;
          }
          ScheduledRun next = new ScheduledRun(strategy, carriers, limits);
          run = next;
          runs++;
          next.execute(program);
          count(next);
        }
      } catch (Throwable t) {
        broken = t;
      } finally {
        carriers.close();
      }
    }

    private void count(ScheduledRun done) {
      deepest = Math.max(deepest, done.trace().steps());
      if (done.isPruned()) {
        pruned++;
        return;
      }
      schedules++;
      Finding finding = done.finding();
      if (finding == null && strategy instanceof Replay replay && !replay.isUsedUp()) {
        finding = Finding.divergence("the program ends before the schedule does");
      }
      if (finding != null) {
        add(finding, done.trace());
      }
    }

    /** Of the runs with one cause, the first of those with the fewest preemptions and choices. */
    private void add(Finding finding, Trace trace) {
      String key = finding.kind() + finding.cause();
      ExplorationResult.Failure known = failures.get(key);
      boolean better =
          known == null
              || trace.preemptions() < known.preemptions()
              || (trace.preemptions() == known.preemptions()
                  && trace.choices() < known.schedule().choices().size());
      failures.put(
          key,
          known == null || better
              ? new ExplorationResult.Failure(
                  finding,
                  known == null ? 1 : known.count() + 1,
                  trace.schedule(),
                  trace.preemptions())
              : new ExplorationResult.Failure(
                  known.finding(), known.count() + 1, known.schedule(), known.preemptions()));
    }

    ScheduledRun lastRun() {
      return requireNonNull(run);
    }

    long progress() {
      ScheduledRun now = run;
      return 31 * runs + (now == null ? 0 : now.progress());
    }

    String whereabouts() {
      ScheduledRun now = run;
      EmulatedThread running = now == null ? null : now.running();
      return running == null ? "none" : running + "\n" + Finding.frames(running.stack());
    }

    ExplorationResult result() {
      Throwable cause = broken;
      if (cause != null) {
        throw new IllegalStateException("the exploration itself failed: " + cause, cause);
      }
      return new ExplorationResult(
          name, schedules, pruned, deepest, complete, ImmutableList.copyOf(failures.values()));
    }
  }
}
