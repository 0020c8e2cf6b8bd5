package dev.septum.lab.explore;

import dev.septum.kernel.schedule.ExplorationResult;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What the exploration of a scenario came to. The same for every run of the same search, whatever
 * the machine, unless a time limit ended it.
 *
 * @param format of this report
 * @param strategy how schedules were chosen
 * @param failures that each schedule could have
 * @param schedules that went to their end
 * @param pruned that were given up as they led nowhere new
 * @param states places where something was chosen, each counted once with all that led to it; 0 if
 *     schedules are drawn at random
 * @param points scheduling points that were passed, in all schedules
 * @param deepest the most steps of a schedule
 * @param complete whether there is no other schedule
 * @param held whether nothing was found
 */
public record ExploreReport(
    int format,
    String file,
    String scenario,
    String backend,
    String strategy,
    int failures,
    long schedules,
    long pruned,
    long states,
    long points,
    int deepest,
    boolean complete,
    List<Outcome> outcomes,
    List<Found> findings,
    boolean held) {

  static final int FORMAT = 1;

  /** What some schedules came to, and the file with one of them; null if none was written. */
  public record Outcome(long schedules, String text, @Nullable String file) {}

  /**
   * A cause for which schedules fail.
   *
   * @param schedules how many do
   * @param report all there is to say of one
   * @param steps of the one that is in the file
   * @param preemptions how often a thread that could have gone on had to wait in it
   * @param file with its schedule
   */
  public record Found(
      String kind,
      String cause,
      String report,
      long schedules,
      int steps,
      int preemptions,
      String file) {}

  static ExploreReport of(
      String file,
      String scenario,
      String backend,
      int failures,
      ExplorationResult result,
      List<Outcome> outcomes,
      List<Found> findings) {
    return new ExploreReport(
        FORMAT,
        file,
        scenario,
        backend,
        result.strategy(),
        failures,
        result.schedules(),
        result.pruned(),
        result.states(),
        result.points(),
        result.deepest(),
        result.isComplete(),
        List.copyOf(outcomes),
        List.copyOf(findings),
        findings.isEmpty());
  }
}
