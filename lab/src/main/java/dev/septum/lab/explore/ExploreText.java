package dev.septum.lab.explore;

/** An exploration as text. */
public final class ExploreText {

  private ExploreText() {}

  /**
   * The report for people.
   *
   * @param backendPath the options that led to the backend, as {@code septum replay} needs them;
   *     each with a space before it
   */
  public static String of(ExploreReport report, String backendPath) {
    StringBuilder text = new StringBuilder();
    text.append("scenario  ").append(report.scenario()).append('\n');
    text.append("file      ").append(report.file()).append('\n');
    text.append("backend   ").append(report.backend()).append('\n');
    text.append("search    ").append(report.strategy());
    if (report.failures() > 0) {
      text.append(", up to %d failure(s) in each schedule".formatted(report.failures()));
    }
    text.append(
        "%nran       %,d schedules, %,d pruned, %,d states, at most %,d steps%n"
            .formatted(report.schedules(), report.pruned(), report.states(), report.deepest()));
    text.append("coverage  ").append(coverage(report)).append('\n');
    if (!report.outcomes().isEmpty()) {
      text.append("\nOutcomes\n");
    }
    for (ExploreReport.Outcome outcome : report.outcomes()) {
      text.append("%,10d  %s%n".formatted(outcome.schedules(), outcome.text()));
      if (outcome.file() != null) {
        text.append("            septum replay");
        text.append(backendPath).append(' ').append(outcome.file()).append('\n');
      }
    }
    for (ExploreReport.Found found : report.findings()) {
      text.append(
          "%nFOUND %s in %,d schedule(s): %s%n"
              .formatted(
                  found.kind(),
                  found.schedules(),
                  found.report().lines().findFirst().orElse(found.cause())));
      text.append(
          "      with %d preemption(s), in %,d steps: septum replay%s %s%n"
              .formatted(found.preemptions(), found.steps(), backendPath, found.file()));
    }
    text.append(
        report.held()
            ? "\nNothing found.\n"
            : "\n%d finding(s).%n".formatted(report.findings().size()));
    return text.toString();
  }

  /** The exhaustive search begins with the last choices: what it has not come to is elsewhere. */
  private static String coverage(ExploreReport report) {
    boolean isOfAll = report.strategy().equals("exhaustive");
    if (report.complete()) {
      return "complete: there is no other schedule" + (isOfAll ? "" : " of this kind");
    }
    return isOfAll
        ? "bounded: there are more; --preemptions 1 and --pct 3 look elsewhere"
        : "bounded";
  }
}
