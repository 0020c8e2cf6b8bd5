package dev.septum.lab.fuzz;

import java.util.List;

/**
 * What random scenarios showed.
 *
 * @param format of this report
 * @param seed of the first scenario; the next ones have the next numbers
 * @param steps in each scenario
 * @param held whether nothing was found
 */
public record FuzzReport(
    int format,
    String backend,
    long seed,
    long runs,
    int steps,
    List<Found> findings,
    boolean held) {

  static final int FORMAT = 1;

  /**
   * Something that was found.
   *
   * @param runs in how many scenarios it was the first thing to be found
   * @param seed of the first of them
   * @param scenario that one as a file, without the phases that it does not need
   */
  public record Found(String text, long runs, long seed, String scenario) {}

  /** The report for people. */
  public String text() {
    StringBuilder text = new StringBuilder();
    text.append(
        "backend %s: %d scenario(s) of %d steps, seeds %d to %d%n"
            .formatted(backend, runs, steps, seed, seed + runs - 1));
    for (Found found : findings) {
      text.append(
          "%nFOUND  %s%nin %d run(s), first with seed %d; all that it needs:%n%n"
              .formatted(found.text(), found.runs(), found.seed()));
      found.scenario().lines().forEach(line -> text.append("    ").append(line).append('\n'));
    }
    text.append(
        held ? "Nothing was found.\n" : "%n%d kind(s) of findings.%n".formatted(findings.size()));
    return text.toString();
  }
}
