package dev.septum.kernel.schedule;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.function.Supplier;

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

  /** Parts of a search that is split, if it has as many ways to go. */
  private static final int PARTS = 64;

  /** Runs in which a search that is to be split is tried as a whole: small ones are done then. */
  private static final int WHOLE = 256;

  private static final int NOT_SPLIT = 0;

  private final Program program;
  private final Carrier carrier;
  private final long mostSchedules;
  private final ScheduledRun.Limits limits;
  private final boolean stopsAtFirst;
  private final int workers;
  private final ExplorationWatcher watcher;

  private Exploration(
      Program program,
      Carrier carrier,
      long mostSchedules,
      ScheduledRun.Limits limits,
      boolean stopsAtFirst,
      int workers,
      ExplorationWatcher watcher) {
    this.program = program;
    this.carrier = carrier;
    this.mostSchedules = mostSchedules;
    this.limits = limits;
    this.stopsAtFirst = stopsAtFirst;
    this.workers = workers;
    this.watcher = watcher;
  }

  /** Explorations of a program, with bounds that fit small ones. */
  public static Exploration of(Program program) {
    return new Exploration(
        program,
        Carrier.best(),
        MOST_SCHEDULES,
        new ScheduledRun.Limits(MOST_STEPS, 0, false),
        false,
        NOT_SPLIT,
        ExplorationWatcher.NONE);
  }

  /** With emulated threads on other carriers: the schedules are the same. */
  public Exploration on(Carrier other) {
    checkArgument(other.isUsable(), "carrier %s is not usable on this JVM", other);
    return new Exploration(program, other, mostSchedules, limits, stopsAtFirst, workers, watcher);
  }

  /** With another bound on the number of runs, those that are pruned included. */
  public Exploration mostSchedules(long most) {
    checkArgument(most >= 1, "%s schedules are none", most);
    return new Exploration(program, carrier, most, limits, stopsAtFirst, workers, watcher);
  }

  /** With another bound on the steps of a run: one that takes more is a livelock. */
  public Exploration mostSteps(int most) {
    checkArgument(most >= 1, "%s steps are none", most);
    return within(new ScheduledRun.Limits(most, limits.failures(), limits.pagesAreAlike()));
  }

  /** With up to {@code most} injected failures in a run ({@link ScheduledKernel#mayFail}). */
  public Exploration mostFailures(int most) {
    checkArgument(most >= 0, "a run cannot have %s failures", most);
    return within(new ScheduledRun.Limits(limits.steps(), most, limits.pagesAreAlike()));
  }

  /**
   * With pages that are all alike: the order of allocations and frees makes no difference by
   * itself. Right where memory does not run out and no page's place decides anything.
   */
  public Exploration pagesAreAlike() {
    return within(new ScheduledRun.Limits(limits.steps(), limits.failures(), true));
  }

  private Exploration within(ScheduledRun.Limits others) {
    return new Exploration(program, carrier, mostSchedules, others, stopsAtFirst, workers, watcher);
  }

  /** Ends with the first run that fails. */
  public Exploration stopAtFirst() {
    return new Exploration(program, carrier, mostSchedules, limits, true, workers, watcher);
  }

  /**
   * In parts, which {@code most} threads do at a time: what comes of it is the same for any number.
   * A bound on the runs is shared out among the parts.
   */
  public Exploration workers(int most) {
    checkArgument(most >= 1, "%s workers do nothing", most);
    return new Exploration(program, carrier, mostSchedules, limits, stopsAtFirst, most, watcher);
  }

  /** Watched by {@code other}, which may end it. */
  public Exploration watchedBy(ExplorationWatcher other) {
    return new Exploration(program, carrier, mostSchedules, limits, stopsAtFirst, workers, other);
  }

  /** Every schedule that can make a difference (depth first, partial order reduction). */
  public ExplorationResult exhaustive() {
    return explore(
        "exhaustive", () -> new DepthFirst(DepthFirst.Reduction.PARTIAL_ORDER, Integer.MAX_VALUE));
  }

  /** Every schedule, also those that cannot make a difference. For small programs only. */
  public ExplorationResult everyInterleaving() {
    return explore(
        "every interleaving", () -> new DepthFirst(DepthFirst.Reduction.NONE, Integer.MAX_VALUE));
  }

  /** Every schedule in which a thread that could go on is made to wait {@code most} times. */
  public ExplorationResult preemptionBounded(int most) {
    checkArgument(most >= 0, "a schedule cannot have %s preemptions", most);
    return explore(
        "up to " + most + " preemptions", () -> new DepthFirst(DepthFirst.Reduction.NONE, most));
  }

  /** As many schedules at random as the bound allows. */
  public ExplorationResult random(long seed) {
    return explore("random, seed " + seed, seeded(seed, RandomWalk::new));
  }

  /**
   * As many schedules as the bound allows, likely to meet a fault that takes {@code depth} orders.
   */
  public ExplorationResult pct(long seed, int depth) {
    checkArgument(depth >= 1, "a fault of depth %s needs no schedule", depth);
    return explore(
        "pct, depth " + depth + ", seed " + seed,
        seeded(seed, random -> new PriorityWalk(random, depth)));
  }

  private List<Strategy> seeded(long seed, Function<SplittableRandom, Strategy> walk) {
    SplittableRandom seeds = new SplittableRandom(seed);
    List<Strategy> walks = new ArrayList<>();
    for (int i = 0; i < (workers == NOT_SPLIT ? 1 : PARTS); i++) {
      walks.add(walk.apply(i == 0 ? seeds : seeds.split()));
    }
    return walks;
  }

  /** One schedule once more. A program that does not follow it fails, saying where. */
  public ExplorationResult replay(Schedule schedule) {
    return explore("replay", List.of(new Replay(schedule)));
  }

  /** One schedule once more, step by step. */
  public RunTrace show(Schedule schedule) {
    ScheduledRun run = search().runOnce(new Replay(schedule));
    ImmutableList.Builder<String> threads = ImmutableList.builder();
    run.threads().forEach(thread -> threads.add(thread.name));
    return new RunTrace(threads.build(), run.trace().lines(), run.outcome(), run.finding());
  }

  /**
   * A schedule with as few preemptions, and then as short, as can be had by simplifying that of a
   * failure step by step; it fails for the same cause. The failure itself if it does not fail any
   * more when it is replayed.
   */
  public ExplorationResult.Failure shrink(ExplorationResult.Failure failure) {
    ScheduledRun failing = search().runOnce(new Replay(failure.schedule()));
    Finding finding = failing.finding();
    if (finding == null || !finding.isLike(failure.finding())) {
      return failure;
    }
    ScheduledRun shrunk = new Shrinker(strategy -> search().runOnce(strategy), failing).shrink();
    Finding found = shrunk.finding();
    return new ExplorationResult.Failure(
        found == null ? finding : found,
        failure.count(),
        shrunk.trace().schedule(),
        shrunk.trace().preemptions());
  }

  private Search search() {
    return search(watcher);
  }

  private Search search(ExplorationWatcher watching) {
    return new Search(program, carrier, limits, stopsAtFirst, Math.max(1, workers), watching);
  }

  private ExplorationResult explore(String name, Supplier<DepthFirst> strategy) {
    if (workers == NOT_SPLIT) {
      return explore(name, List.of(strategy.get()));
    }
    boolean[] goesOn = {true};
    ExplorationWatcher outlook =
        (runs, partsDone, parts) -> goesOn[0] = watcher.mayGoOn(runs, partsDone, parts);
    ExplorationResult whole =
        search(outlook).run(name, List.of(strategy.get()), Math.min(mostSchedules, WHOLE));
    if (whole.isComplete() || !goesOn[0] || (stopsAtFirst && !whole.isSound())) {
      return whole;
    }
    Search search = search();
    return search.run(name, search.split(strategy.get(), PARTS), mostSchedules);
  }

  private ExplorationResult explore(String name, List<Strategy> strategies) {
    return search().run(name, strategies, mostSchedules);
  }
}
