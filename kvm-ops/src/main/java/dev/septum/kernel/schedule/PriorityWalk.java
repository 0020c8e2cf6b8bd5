package dev.septum.kernel.schedule;

import dev.septum.kernel.PointKind;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Probabilistic concurrency testing (Burckhardt and others, ASPLOS 2010): each thread has a random
 * priority, the highest goes, and at {@code depth - 1} random steps the one that goes falls below
 * all others. Finds a fault of that depth with a probability that is known from below.
 */
final class PriorityWalk implements Strategy {

  private final SplittableRandom seeds;
  private final int depth;
  private SplittableRandom random;
  private final long[] priorities = new long[Long.SIZE];
  private int[] changes = {};
  private int steps;

  /** The most steps of a run so far: where priorities may change. */
  private int longest = 1;

  private long lowest;

  PriorityWalk(SplittableRandom seeds, int depth) {
    this.seeds = seeds;
    random = seeds;
    this.depth = depth;
  }

  @Override
  public boolean next() {
    random = seeds.split();
    longest = Math.max(longest, steps);
    steps = 0;
    lowest = 0;
    for (int i = 0; i < priorities.length; i++) {
      priorities[i] = random.nextLong() >>> 1;
    }
    changes = new int[Math.max(0, depth - 1)];
    for (int i = 0; i < changes.length; i++) {
      changes[i] = 1 + random.nextInt(longest);
    }
    Arrays.sort(changes);
    return true;
  }

  @Override
  public int chooseThread(ScheduledRun run, long enabled, int last) {
    steps++;
    int chosen = highest(enabled);
    boolean givesWay = run.threads().get(chosen).kind == PointKind.YIELD;
    if (givesWay || Arrays.binarySearch(changes, steps) >= 0) {
      priorities[chosen] = --lowest;
      chosen = highest(enabled);
    }
    return chosen;
  }

  private int highest(long enabled) {
    int best = Long.numberOfTrailingZeros(enabled);
    for (long rest = enabled & (enabled - 1); rest != 0; rest &= rest - 1) {
      int thread = Long.numberOfTrailingZeros(rest);
      best = priorities[thread] > priorities[best] ? thread : best;
    }
    return best;
  }

  @Override
  public int chooseValue(ScheduledRun run, int alternatives) {
    return random.nextInt(alternatives);
  }
}
