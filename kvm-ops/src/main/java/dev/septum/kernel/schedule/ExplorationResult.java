package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;

/**
 * What an exploration came to.
 *
 * @param strategy how schedules were chosen, with the seed if there is one
 * @param schedules runs that went to their end
 * @param pruned runs that were given up as they led nowhere new
 * @param points scheduling points that were passed, in all runs
 * @param states places where something was chosen, each counted once with all that led to it; 0 if
 *     schedules are drawn at random
 * @param deepest the most steps of a run, counted from its second thread on
 * @param isComplete whether there is no other schedule, of those that the strategy has
 * @param outcomes what the runs came to, each once, in the order in which they were met
 * @param failures what was found, each cause once, in the order in which they were found
 */
public record ExplorationResult(
    String strategy,
    long schedules,
    long pruned,
    long points,
    long states,
    int deepest,
    boolean isComplete,
    ImmutableList<Outcome> outcomes,
    ImmutableList<Failure> failures) {

  /**
   * All runs that came to the same, as the program says it ({@link ScheduledKernel#outcome}).
   *
   * @param count how many there were
   * @param schedule one of them: of those with the fewest preemptions the first with the fewest
   *     choices
   * @param preemptions how often a thread that could have gone on had to wait in it
   */
  public record Outcome(String text, long count, Schedule schedule, int preemptions) {}

  /**
   * All runs that failed for one cause.
   *
   * @param finding what was wrong with the one that is shown, chosen as an outcome's is
   * @param count how many there were
   * @param schedule its schedule
   * @param preemptions how often a thread that could have gone on had to wait in it
   */
  public record Failure(Finding finding, long count, Schedule schedule, int preemptions) {
    @Override
    public String toString() {
      return "%s%n(%d of this cause) replay: %s".formatted(finding, count, schedule);
    }
  }

  /** Whether no run failed. */
  public boolean isSound() {
    return failures.isEmpty();
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    text.append(
        "%s: %d schedules, %d pruned, %d steps deep, %s, %d causes of failure"
            .formatted(
                strategy,
                schedules,
                pruned,
                deepest,
                isComplete ? "complete" : "bounded",
                failures.size()));
    failures.forEach(failure -> text.append('\n').append(failure));
    return text.toString();
  }
}
