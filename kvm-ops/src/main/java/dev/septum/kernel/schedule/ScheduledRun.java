package dev.septum.kernel.schedule;

import dev.septum.kernel.LockChecker;
import dev.septum.kernel.PointKind;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * One run of a program under one schedule.
 *
 * <p>Whoever has the token runs, and everything here is touched by that thread only; handing the
 * token on is what makes it visible to the next.
 */
final class ScheduledRun {

  private static final int MOST_THREADS = Long.SIZE;

  /**
   * Steps of a thread that is alone, before or after the others: no schedule makes more of them.
   */
  private static final int MOST_STEPS_ALONE = 10_000_000;

  private final Strategy strategy;
  private final CarrierPool carriers;
  private final Limits limits;
  private final LockChecker checker = new LockChecker();
  private final List<EmulatedThread> threads = new ArrayList<>();
  private final Trace trace;

  /** Who has the token; null before the run and after it. */
  private volatile @Nullable EmulatedThread running;

  private int steps;
  private int stepsAlone;
  private boolean aborting;
  private boolean pruned;
  private @Nullable Finding finding;
  private @Nullable String outcome;
  private boolean makingNote;
  private int failuresChosen;
  private int last;

  /** Whether one thread has something to do, and whatever others did comes before its next step. */
  private boolean alone = true;

  /**
   * Bounds that keep every run finite, those on steps while there are several threads, and whether
   * it matters who gets which page.
   */
  record Limits(int steps, int failures, boolean pagesAreAlike) {}

  ScheduledRun(Strategy strategy, CarrierPool carriers, Limits limits) {
    this.strategy = strategy;
    this.carriers = carriers;
    this.limits = limits;
    this.trace = new Trace(strategy instanceof Replay);
  }

  LockChecker checker() {
    return checker;
  }

  boolean isAborting() {
    return aborting;
  }

  /** Whether the run was given up since its schedule leads nowhere new. */
  boolean isPruned() {
    return pruned;
  }

  /** What the run found, or null. */
  @Nullable Finding finding() {
    return finding;
  }

  /** What the program said that the run came to, or null. */
  @Nullable String outcome() {
    return outcome;
  }

  void outcome(String text) {
    outcome = text;
  }

  Trace trace() {
    return trace;
  }

  /** Notes what the calling thread does, if the run is one that is shown. */
  void note(String text) {
    makingNote = false;
    EmulatedThread me = current();
    if (me != null && !alone) {
      trace.noted(me, text);
    }
  }

  void beginNote() {
    makingNote = true;
  }

  List<EmulatedThread> threads() {
    return threads;
  }

  /** How far the run is, for one who looks on. */
  int progress() {
    return steps + stepsAlone;
  }

  /** Who runs, for one who looks on. */
  @Nullable EmulatedThread running() {
    return running;
  }

  /** Runs the program on the calling thread, until every thread has ended. */
  void execute(Program program) {
    EmulatedThread main = EmulatedThread.main(this);
    threads.add(main);
    running = main;
    try {
      program.run(new ScheduledKernel(this));
      checker.assertNoneHeld("the end of thread main");
    } catch (Abort e) {
      // Who aborted the run said why.
    } catch (Throwable t) {
      if (!aborting) {
        main.fail(t);
      }
    }
    main.end();
    runTheRest(main);
    if (finding == null && !pruned) {
      finding = firstFailure();
    }
    unwindTheRest(main);
    running = null;
  }

  private void runTheRest(EmulatedThread main) {
    if (aborting) {
      return;
    }
    try {
      EmulatedThread next = choose();
      if (next != null) {
        step(next);
        handOver(main, next);
      }
    } catch (Abort e) {
      // As above.
    }
  }

  private @Nullable Finding firstFailure() {
    for (EmulatedThread thread : threads) {
      Throwable failure = thread.untoldFailure();
      if (failure != null) {
        return Finding.failure(thread, failure);
      }
    }
    return null;
  }

  /** A thread that failed may have left others waiting: then its failure is what to look at. */
  private Finding whyStuck() {
    Finding failure = firstFailure();
    return failure == null ? Finding.stuck(this) : failure;
  }

  private void unwindTheRest(EmulatedThread main) {
    aborting = true;
    for (EmulatedThread thread : threads) {
      if (thread.isStarted() && !thread.isEnded()) {
        handOver(main, thread);
      }
    }
  }

  /** The emulated thread that calls; null if the caller is none. */
  @Nullable EmulatedThread current() {
    EmulatedThread thread = running;
    return thread != null && thread.isCarriedBy(Thread.currentThread()) ? thread : null;
  }

  /** The emulated thread that calls, which must be one. */
  EmulatedThread caller() {
    EmulatedThread thread = current();
    if (thread == null) {
      throw new IllegalStateException("the caller is no thread of this scheduled kernel");
    }
    return thread;
  }

  int nextNumber(@Nullable EmulatedThread maker) {
    return maker == null ? 0 : ++maker.objectsMade;
  }

  EmulatedThread spawn(String name, boolean isDaemon, Runnable body) {
    EmulatedThread parent = caller();
    if (threads.size() == MOST_THREADS) {
      throw new IllegalStateException("more than " + MOST_THREADS + " emulated threads");
    }
    EmulatedThread child = new EmulatedThread(this, threads.size(), name, isDaemon, body);
    child.clock = parent.clock;
    threads.add(child);
    alone = false;
    return child;
  }

  /**
   * The calling thread stands before a step: whoever is chosen goes first, and the caller goes on
   * when it is its turn and the object admits it.
   */
  void point(SharedObject object, int part, PointKind kind) {
    if (makingNote) {
      return;
    }
    EmulatedThread me = current();
    if (me == null) {
      pointOutside(object, kind);
      return;
    }
    if (alone && !kind.mayWait() && !aborting) {
      countStepAlone();
      return;
    }
    if (aborting) {
      throw new Abort();
    }
    me.object = object;
    me.part = part;
    me.kind = kind;
    EmulatedThread next = choose();
    if (next == null) {
      throw new IllegalStateException("a thread that runs has ended");
    }
    step(next);
    if (next != me) {
      handOver(me, next);
      if (aborting) {
        throw new Abort();
      }
    }
  }

  /** Before and after the run nobody competes; during it there is no place for a stranger. */
  private void pointOutside(SharedObject object, PointKind kind) {
    if (running != null) {
      throw new IllegalStateException(
          "%s of %s by a thread that this kernel did not spawn"
              .formatted(kind.word(), object.name(0)));
    }
  }

  /** What a step of this kind is to others, as far as this run looks at it. */
  PointKind seen(PointKind kind) {
    boolean isAlike =
        limits.pagesAreAlike() && (kind == PointKind.ALLOCATE || kind == PointKind.FREE);
    return isAlike ? PointKind.LOCAL : kind;
  }

  /** Notes that the caller gives up what it held. No point of its own: nobody can see it sooner. */
  void released(SharedObject object, boolean exclusive) {
    EmulatedThread me = current();
    if (me != null && strategy.ordersSteps()) {
      object.released(me, exclusive);
    }
  }

  /** One of {@code alternatives}, chosen as part of the schedule; no point of its own. */
  int chooseValue(String what, int alternatives) {
    if (aborting) {
      return 0;
    }
    int value = strategy.chooseValue(this, alternatives);
    trace.chose(value, what);
    return value;
  }

  /** Whether something fails that may: chosen, as long as the run has failures left. */
  boolean mayFail(String what) {
    if (failuresChosen == limits.failures() || current() == null) {
      return false;
    }
    boolean fails = chooseValue(what + " fails", 2) == 1;
    failuresChosen += fails ? 1 : 0;
    return fails;
  }

  /** How often {@link #mayFail} said yes. */
  int failures() {
    return failuresChosen;
  }

  private void countStepAlone() {
    stepsAlone++;
    if (stepsAlone > MOST_STEPS_ALONE) {
      throw abort(Finding.livelock(this));
    }
  }

  /** Chooses the thread for the next step; null if all have ended. */
  private @Nullable EmulatedThread choose() {
    if (alone) {
      countStepAlone();
      EmulatedThread only = threads.get(last);
      if (only.isEnded()) {
        return null;
      }
      if (!only.object.admits(only, only.kind)) {
        throw abort(whyStuck());
      }
      return only;
    }
    steps++;
    if (steps > limits.steps()) {
      throw abort(Finding.livelock(this));
    }
    long enabled = enabled();
    if (enabled == 0) {
      if (isOver()) {
        return null;
      }
      throw abort(whyStuck());
    }
    int chosen = strategy.chooseThread(this, enabled, last);
    if (chosen == Strategy.PRUNE) {
      pruned = true;
      aborting = true;
      throw new Abort();
    }
    if (Long.bitCount(enabled) > 1) {
      boolean preemption =
          chosen != last
              && (enabled & (1L << last)) != 0
              && threads.get(last).kind != PointKind.YIELD;
      trace.chose(threads.get(chosen), preemption);
    }
    return threads.get(chosen);
  }

  private Abort abort(Finding found) {
    finding = found;
    aborting = true;
    return new Abort();
  }

  /** Ends the run for a reason of the strategy's. */
  Abort fail(Finding found) {
    return abort(found);
  }

  private void step(EmulatedThread thread) {
    if (last != thread.index) {
      threads.get(last).othersMoved();
    }
    last = thread.index;
    if (!alone) {
      strategy.stepping(this, thread);
      trace.stepped(thread);
    }
    thread.object.touched(thread, thread.kind);
    thread.stepped();
    boolean waited = thread.kind == PointKind.JOIN || thread.kind == PointKind.WAIT;
    alone |= waited && isLastOf(thread);
  }

  /** Whether nobody else will do anything, and all that was done comes before the thread's step. */
  private boolean isLastOf(EmulatedThread thread) {
    for (EmulatedThread other : threads) {
      boolean comesBefore =
          hasNothingToDo(other)
              && VectorClock.of(thread.clock, other.index)
                  >= VectorClock.of(other.clock, other.index);
      if (other != thread && !comesBefore) {
        return false;
      }
    }
    return true;
  }

  /**
   * Whether the thread has ended, or serves others and has no work until somebody gives it some.
   */
  private static boolean hasNothingToDo(EmulatedThread thread) {
    return thread.isEnded() || (thread.isDaemon && !thread.object.admits(thread, thread.kind));
  }

  /** Whether the caller is the only thread that has anything to do. */
  boolean isAlone() {
    return alone;
  }

  private boolean isOver() {
    for (EmulatedThread thread : threads) {
      if (!thread.isEnded() && !thread.isDaemon) {
        return false;
      }
    }
    return true;
  }

  private long enabled() {
    long enabled = 0;
    long givingWay = 0;
    for (int i = 0; i < threads.size(); i++) {
      EmulatedThread thread = threads.get(i);
      if (thread.isEnded() || !thread.object.admits(thread, thread.kind)) {
        continue;
      }
      if (thread.kind == PointKind.YIELD && thread.spinsInVain()) {
        givingWay |= 1L << i;
      } else {
        enabled |= 1L << i;
      }
    }
    return enabled == 0 ? givingWay : enabled;
  }

  /** Gives the token to {@code next} and returns when it is back. */
  private void handOver(EmulatedThread me, EmulatedThread next) {
    running = next;
    next.resume(carriers);
    while (running != me) {
      LockSupport.park(this);
    }
  }

  /** The thread has ended and gives the token away for good. */
  void threadEnds(EmulatedThread thread) {
    thread.end();
    EmulatedThread next = threads.get(0);
    if (!aborting) {
      try {
        EmulatedThread chosen = choose();
        if (chosen != null) {
          step(chosen);
          next = chosen;
        }
      } catch (Abort e) {
        // Main unwinds everybody.
      }
    }
    running = next;
    next.resume(carriers);
  }
}
