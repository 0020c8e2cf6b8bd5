package dev.septum.it.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.Program;
import dev.septum.kernel.schedule.ScheduledKernel;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/**
 * A few threads on a VM, and every way in which that can end.
 *
 * <p>Pages are taken to be alike: where a page lies decides nothing in a scene.
 */
final class Race {

  private final Set<String> seen = new ConcurrentSkipListSet<>();
  private final Exploration exploration;

  /** The race that is set up like this, on a kernel of its own for each schedule. */
  static Race of(Function<ScheduledKernel, Scene> setting) {
    return of(setting, exploration -> exploration);
  }

  /** The same with other bounds. */
  static Race of(Function<ScheduledKernel, Scene> setting, UnaryOperator<Exploration> bounds) {
    return new Race(setting, bounds);
  }

  private Race(Function<ScheduledKernel, Scene> setting, UnaryOperator<Exploration> bounds) {
    Program program = kernel -> seen.add(setting.apply(kernel).play());
    exploration = bounds.apply(Exploration.of(program).pagesAreAlike());
  }

  /** Plays the race under every schedule: these are its ends, all of them and no others. */
  void ends(String... ends) {
    ExplorationResult result = exploration.exhaustive();
    assertThat(result.failures()).isEmpty();
    assertThat(result.isComplete()).as("%s", result).isTrue();
    assertThat(seen).containsExactlyInAnyOrder(ends);
  }

  /** Plays that many schedules of each kind at random: nothing is wrong after any of them. */
  void isSoundAtRandom(int schedules) {
    Exploration bounded = exploration.mostSchedules(schedules);
    assertThat(bounded.random(1).failures()).isEmpty();
    assertThat(bounded.pct(1, 3).failures()).isEmpty();
    assertThat(seen).hasSizeGreaterThan(1);
  }

  /** How it can be played otherwise. */
  Exploration exploration() {
    return exploration;
  }
}
