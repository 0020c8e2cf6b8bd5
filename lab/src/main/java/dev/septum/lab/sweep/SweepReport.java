package dev.septum.lab.sweep;

import java.util.List;

/**
 * What a sweep found.
 *
 * @param format of this report
 * @param seed with which pairs were chosen, where not all were run
 * @param held whether nothing was found
 */
public record SweepReport(
    int format, String backend, long seed, List<FlowReport> flows, long runs, boolean held) {

  static final int FORMAT = 1;

  /**
   * What was found in one flow.
   *
   * @param file the scenario's
   * @param points that it passes undisturbed
   * @param singles runs with one disturbance
   * @param pairs runs with two
   * @param pairsInAll how many pairs there are
   */
  public record FlowReport(
      String file,
      String scenario,
      String phase,
      int points,
      long singles,
      long pairs,
      long pairsInAll,
      List<Row> rows,
      List<Group> findings) {}

  /** How often a disturbance at a place came to an outcome, alone. */
  public record Row(String place, String mode, String outcome, long runs) {}

  /**
   * Runs in which the same thing was found.
   *
   * @param plan the first one's, which repeats it
   */
  public record Group(String text, long runs, String plan) {}

  static SweepReport of(String backend, long seed, List<FlowReport> flows) {
    return new SweepReport(
        FORMAT,
        backend,
        seed,
        flows,
        flows.stream().mapToLong(flow -> 1 + flow.singles() + flow.pairs()).sum(),
        flows.stream().allMatch(flow -> flow.findings().isEmpty()));
  }
}
