package dev.septum.kernel.schedule;

import java.util.SplittableRandom;

/** Schedules at random: every thread that can go is as likely as any other. */
final class RandomWalk implements Strategy {

  private final SplittableRandom seeds;
  private SplittableRandom random;

  RandomWalk(SplittableRandom seeds) {
    this.seeds = seeds;
    random = seeds;
  }

  @Override
  public boolean next() {
    random = seeds.split();
    return true;
  }

  @Override
  public int chooseThread(ScheduledRun run, long enabled, int last) {
    return Threads.nth(
        enabled, Long.bitCount(enabled) == 1 ? 0 : random.nextInt(Long.bitCount(enabled)));
  }

  @Override
  public int chooseValue(ScheduledRun run, int alternatives) {
    return random.nextInt(alternatives);
  }
}
