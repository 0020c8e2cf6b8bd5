package dev.septum.lab.explore;

import dev.septum.kernel.schedule.Carrier;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.ExplorationWatcher;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.scenario.ScenarioFile;

/**
 * Which schedules of a scenario are run.
 *
 * @param strategy how they are chosen
 * @param bound preemptions of BOUNDED, the depth of PCT; 0 for others
 * @param seed of PCT and RANDOM; 0 for others
 * @param mostSchedules that are run
 * @param bounds of each of them
 * @param stopsAtFirst whether the first finding ends the search
 */
public record Search(
    Kind strategy, int bound, long seed, long mostSchedules, Bounds bounds, boolean stopsAtFirst) {

  /** Ways to choose schedules. */
  public enum Kind {
    EXHAUSTIVE,
    BOUNDED,
    PCT,
    RANDOM
  }

  /**
   * What a run may come to: part of what it takes to repeat one.
   *
   * @param failures allocations and SEAMCALLs that may fail
   * @param steps that it may take
   * @param pagesAreAlike whether who gets which host page makes no difference
   */
  public record Bounds(int failures, int steps, boolean pagesAreAlike) {

    /** Explorations of a scenario within these bounds. */
    Exploration of(ScenarioFile file, KvmBackend backend, Carrier carrier) {
      Exploration exploration =
          Exploration.of(new ExploredScenario(file, backend))
              .on(carrier)
              .mostFailures(failures)
              .mostSteps(steps);
      return pagesAreAlike ? exploration.pagesAreAlike() : exploration;
    }
  }

  ExplorationResult run(Exploration within, int workers, ExplorationWatcher watcher) {
    Exploration exploration =
        within.mostSchedules(mostSchedules).workers(workers).watchedBy(watcher);
    Exploration stopping = stopsAtFirst ? exploration.stopAtFirst() : exploration;
    return switch (strategy) {
      case EXHAUSTIVE -> stopping.exhaustive();
      case BOUNDED -> stopping.preemptionBounded(bound);
      case PCT -> stopping.pct(seed, bound);
      case RANDOM -> stopping.random(seed);
    };
  }
}
