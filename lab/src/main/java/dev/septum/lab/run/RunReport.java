package dev.septum.lab.run;

import com.google.common.collect.ImmutableList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What became of a scenario.
 *
 * @param format of this report
 * @param end what was found when everything had gone
 * @param held whether nothing was found
 */
public record RunReport(
    int format,
    String file,
    String scenario,
    String backend,
    List<PhaseReport> phases,
    List<Found> end,
    boolean held) {

  static final int FORMAT = 1;

  /** A phase, and what was found when it was through. */
  public record PhaseReport(String name, List<StepReport> steps, List<Found> findings) {}

  /**
   * A step.
   *
   * @param actor who did it, in a concurrent phase
   * @param result what it came to
   * @param detail what is to be said about that
   */
  public record StepReport(
      int line, @Nullable String actor, String step, String result, @Nullable String detail) {}

  /** Something that should not be, and the line of the file where it was found. */
  public record Found(int line, String text) {}

  static RunReport of(
      String file, String scenario, String backend, List<PhaseReport> phases, List<Found> end) {
    boolean held = end.isEmpty() && phases.stream().allMatch(phase -> phase.findings.isEmpty());
    return new RunReport(
        FORMAT,
        file,
        scenario,
        backend,
        ImmutableList.copyOf(phases),
        ImmutableList.copyOf(end),
        held);
  }

  /** Everything that was found. */
  public ImmutableList<Found> allFindings() {
    ImmutableList.Builder<Found> all = ImmutableList.builder();
    phases.forEach(phase -> all.addAll(phase.findings));
    return all.addAll(end).build();
  }
}
