package dev.septum.kernel.schedule;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Does the parts of an exploration on some workers. What comes of it is the same for any number of
 * them: the parts are, and so is what each of them may do.
 */
final class Search {

  private static final long PATIENCE_SECONDS = 30;
  private static final long LOOK_MILLIS = 100;

  private final Program program;
  private final Carrier carrier;
  private final ScheduledRun.Limits limits;
  private final boolean stopsAtFirst;

  /** Parts that are done at once, at most. */
  private final int workers;

  private final ExplorationWatcher watcher;

  private final List<Part> parts = new ArrayList<>();
  private final Tally beforeParts = new Tally();

  /** Parts that the watcher knows to be done. */
  private final Set<Part> told = new HashSet<>();

  private volatile boolean stopped;
  private volatile @Nullable Throwable broken;

  Search(
      Program program,
      Carrier carrier,
      ScheduledRun.Limits limits,
      boolean stopsAtFirst,
      int workers,
      ExplorationWatcher watcher) {
    this.program = program;
    this.carrier = carrier;
    this.limits = limits;
    this.stopsAtFirst = stopsAtFirst;
    this.workers = workers;
    this.watcher = watcher;
  }

  /** The run of one schedule. */
  ScheduledRun runOnce(Strategy strategy) {
    Part part = new Part(strategy);
    onWorkers(1, List.of(part), carriers -> part.step(program, carriers, limits));
    ScheduledRun run = part.run();
    if (run == null) {
      throw new IllegalStateException("no run");
    }
    return run;
  }

  /**
   * Splits a search into independent ones, as many as wanted if it has as many ways to go, by
   * running as far as to where each forks.
   */
  List<Strategy> split(DepthFirst whole, int wanted) {
    Deque<DepthFirst> open = new ArrayDeque<>(List.of(whole));
    List<DepthFirst> leafs = new ArrayList<>();
    while (!open.isEmpty() && open.size() + leafs.size() < wanted) {
      DepthFirst scout = open.remove().scout();
      runOnce(scout);
      List<DepthFirst> found = scout.split();
      (scout.isForked() ? open : leafs).addAll(found);
      beforeParts.addStates(scout.isForked() ? scout.states() : 0);
      beforeParts.addPruned(found.isEmpty() ? 1 : 0);
    }
    List<Strategy> all = new ArrayList<>(leafs);
    all.addAll(open);
    return all;
  }

  /**
   * Does all parts, {@code most} schedules of them at most: each may do as many as any other, and
   * what some do not need is for the others, as long as there is something left.
   */
  ExplorationResult run(String name, List<Strategy> strategies, long most) {
    for (Strategy strategy : strategies) {
      ExplorationResult known = watcher.known(parts.size());
      Part part = known == null ? new Part(strategy) : Part.known(strategy, known);
      parts.add(part);
      if (known != null) {
        told.add(part);
      }
    }
    long left = most - runs();
    while (left > 0 && !stopped && !(stopsAtFirst && parts.stream().anyMatch(Part::hasFailures))) {
      List<Part> open = parts.stream().filter(part -> !part.isComplete()).toList();
      if (open.isEmpty()) {
        break;
      }
      long share = Math.max(1, left / open.size());
      List<Part> now = left < open.size() ? open.subList(0, (int) left) : open;
      long before = runs();
      round(now, share);
      left -= runs() - before;
    }
    return result(name);
  }

  private void round(List<Part> open, long share) {
    AtomicInteger next = new AtomicInteger();
    AtomicInteger firstFailing = new AtomicInteger(Integer.MAX_VALUE);
    onWorkers(
        Math.min(workers, open.size()),
        open,
        carriers -> {
          int index;
          while ((index = next.getAndIncrement()) < open.size()) {
            Part part = open.get(index);
            for (long i = 0; i < share && !stopped && index <= firstFailing.get(); i++) {
              if (!part.step(program, carriers, limits)) {
                break;
              }
              if (stopsAtFirst && part.hasFailures()) {
                firstFailing.accumulateAndGet(index, Math::min);
                break;
              }
            }
          }
        });
  }

  /** What came of all parts; where the first failure ends it, of those up to the failing one. */
  private ExplorationResult result(String name) {
    Tally sum = new Tally();
    sum.add(beforeParts.result(name, true));
    boolean complete = true;
    for (Part part : parts) {
      sum.add(part.result(name));
      complete &= part.isComplete();
      if (stopsAtFirst && part.hasFailures()) {
        return sum.result(name, false);
      }
    }
    return sum.result(name, complete);
  }

  private long runs() {
    long runs = 0;
    for (Part part : parts) {
      runs += part.runs();
    }
    return runs;
  }

  private void onWorkers(int count, List<Part> work, Consumer<CarrierPool> job) {
    List<Thread> drivers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      // For all workers that there will be: how many can run at once is settled by the first.
      Thread driver = carrier.factory(workers).newThread(() -> drive(job));
      drivers.add(driver);
      driver.start();
    }
    watch(drivers, work);
    Throwable cause = broken;
    if (cause != null) {
      throw new IllegalStateException("the exploration itself failed: " + cause, cause);
    }
  }

  private void drive(Consumer<CarrierPool> job) {
    CarrierPool carriers = new CarrierPool(carrier);
    try {
      job.accept(carriers);
    } catch (Throwable t) {
      broken = t;
      stopped = true;
    } finally {
      carriers.close();
    }
  }

  /** Waits for the workers, and gives up if no scheduling point is reached in any of them. */
  private void watch(List<Thread> drivers, List<Part> work) {
    long progress = -1;
    long since = System.nanoTime();
    for (Thread driver : drivers) {
      while (driver.isAlive()) {
        try {
          driver.join(LOOK_MILLIS);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw new IllegalStateException("interrupted while exploring", e);
        }
        tell();
        long now = progress(work);
        if (now != progress) {
          progress = now;
          since = System.nanoTime();
        } else if (System.nanoTime() - since > TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS)) {
          throw new IllegalStateException(
              "a thread has reached no scheduling point for %d s; it is%n%s"
                  .formatted(PATIENCE_SECONDS, whereabouts(work)));
        }
      }
    }
    tell();
  }

  private void tell() {
    int done = 0;
    for (int i = 0; i < parts.size(); i++) {
      Part part = parts.get(i);
      if (part.isComplete()) {
        done++;
        if (told.add(part)) {
          watcher.done(i, part.result("part " + i));
        }
      }
    }
    if (!parts.isEmpty() && !watcher.mayGoOn(runs(), done, parts.size())) {
      stopped = true;
    }
  }

  private static long progress(List<Part> work) {
    long progress = 0;
    for (Part part : work) {
      ScheduledRun run = part.run();
      progress += 31 * part.runs() + (run == null ? 0 : run.progress());
    }
    return progress;
  }

  private static String whereabouts(List<Part> work) {
    StringBuilder text = new StringBuilder();
    for (Part part : work) {
      ScheduledRun run = part.run();
      EmulatedThread running = run == null ? null : run.running();
      if (running != null) {
        text.append(running).append('\n').append(Finding.frames(running.stack()));
      }
    }
    return text.length() == 0 ? "none" : text.toString();
  }
}
