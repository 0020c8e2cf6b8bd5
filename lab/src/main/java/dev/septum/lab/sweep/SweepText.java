package dev.septum.lab.sweep;

import dev.septum.lab.sweep.SweepReport.FlowReport;
import dev.septum.lab.sweep.SweepReport.Group;
import dev.septum.lab.sweep.SweepReport.Row;

/** A sweep as text. */
public final class SweepText {

  private SweepText() {}

  /**
   * The report for people.
   *
   * @param backendPath the options that led to the backend, as a command that repeats a run needs
   *     them; each with a space before it
   */
  public static String of(SweepReport report, String backendPath) {
    StringBuilder text = new StringBuilder();
    text.append("backend %s, seed %d%n".formatted(report.backend(), report.seed()));
    for (FlowReport flow : report.flows()) {
      append(text, flow, report.backend() + backendPath);
    }
    long findings = report.flows().stream().mapToLong(flow -> flow.findings().size()).sum();
    text.append(
        "%n%d flow(s), %d run(s): %s%n"
            .formatted(
                report.flows().size(),
                report.runs(),
                report.held() ? "nothing was found." : findings + " kind(s) of findings."));
    return text.toString();
  }

  /** One run, as text. */
  public static String of(Sweep.Replay replay) {
    StringBuilder text = new StringBuilder();
    text.append(replay.outcome()).append('\n');
    if (!replay.disturbed()) {
      text.append("The flow did not come to every point of the plan.\n");
    }
    replay.findings().forEach(found -> text.append("FOUND  ").append(found).append('\n'));
    return text.toString();
  }

  private static void append(StringBuilder text, FlowReport flow, String backend) {
    text.append("%n%s%n%s: %s%n".formatted(flow.file(), flow.scenario(), flow.phase()));
    text.append(
        "%d points, %d runs with one disturbance, %d with two%s%n"
            .formatted(
                flow.points(),
                flow.singles(),
                flow.pairs(),
                flow.pairs() < flow.pairsInAll() ? " of " + flow.pairsInAll() : ""));
    for (Row row : flow.rows()) {
      text.append(
          "  %-28s %-12s %5d  %s%n".formatted(row.place(), row.mode(), row.runs(), row.outcome()));
    }
    for (Group group : flow.findings()) {
      text.append(
          "  FOUND  %s%n         in %d run(s); septum sweep --backend %s --plan %s %s%n"
              .formatted(group.text(), group.runs(), backend, group.plan(), flow.file()));
    }
  }
}
