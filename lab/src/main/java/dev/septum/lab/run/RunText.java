package dev.septum.lab.run;

import dev.septum.lab.run.RunReport.Found;
import dev.septum.lab.run.RunReport.PhaseReport;
import dev.septum.lab.run.RunReport.StepReport;

/** A run as text. */
public final class RunText {

  private static final int RESULT_COLUMN = 76;

  private RunText() {}

  /** The report for people. */
  public static String of(RunReport report) {
    StringBuilder text = new StringBuilder();
    text.append("scenario  ").append(report.scenario()).append('\n');
    text.append("file      ").append(report.file()).append('\n');
    text.append("backend   ").append(report.backend()).append('\n');
    for (PhaseReport phase : report.phases()) {
      text.append('\n').append(phase.name()).append('\n');
      phase.steps().forEach(step -> append(text, step));
      phase.findings().forEach(found -> append(text, found));
    }
    text.append('\n');
    report.end().forEach(found -> append(text, found));
    int found = report.allFindings().size();
    text.append(
        report.held()
            ? "All held: every page is back.\n"
            : "%d finding%s.\n".formatted(found, found == 1 ? "" : "s"));
    return text.toString();
  }

  private static void append(StringBuilder text, StepReport step) {
    String actor = step.actor() == null ? "" : step.actor() + ": ";
    String what = "%6d  %s%s".formatted(step.line(), actor, step.step());
    text.append(what)
        .append(" ".repeat(Math.max(2, RESULT_COLUMN - what.length())))
        .append(step.result());
    if (step.detail() != null) {
      text.append("  ").append(step.detail());
    }
    text.append('\n');
  }

  private static void append(StringBuilder text, Found found) {
    text.append("  FOUND  line ").append(found.line()).append(": ").append(found.text());
    text.append('\n');
  }
}
