package dev.septum.lab;

import dev.septum.lab.report.JsonReport;
import java.io.IOException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** How a command that works for long says how far it is, and what came of it. */
final class ReportOptions {

  @Spec(Spec.Target.MIXEE)
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Option(names = "--json", description = "Report as JSON.")
  private boolean json;

  @Option(
      names = "--progress",
      negatable = true,
      description = "Show how far it is on stderr (default: if that is a terminal).")
  private @Nullable Boolean progress;

  /** Does work, and shows how far it is if that is wanted. */
  <R, E extends Exception> R whileShowing(ProgressLine.Work<R, E> work) throws E {
    return ProgressLine.whileShowing(spec, progress, work);
  }

  /** Prints a report as text or as JSON. */
  <R> void print(R report, Function<R, String> text) throws IOException {
    Stdout.print(spec, json ? JsonReport.of(report) : text.apply(report));
  }
}
