package dev.septum.lab;

import dev.septum.lab.report.JsonReport;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Collectors;
import picocli.CommandLine.Model.CommandSpec;

/** Where a command's report goes. A report that does not arrive whole is an error. */
final class Stdout {

  private Stdout() {}

  /** Prints a report as it is. */
  static void print(CommandSpec command, String report) throws IOException {
    PrintWriter out = command.commandLine().getOut();
    out.print(report);
    out.flush();
    if (out.checkError()) {
      throw new IOException("the report cannot be written to stdout");
    }
  }

  /** As JSON an object for one report, an array for several; as text an empty line between them. */
  static <R> void print(
      CommandSpec command, boolean json, List<R> reports, Function<R, String> text)
      throws IOException {
    if (json) {
      print(command, JsonReport.of(reports.size() == 1 ? reports.get(0) : reports));
    } else {
      print(command, reports.stream().map(text).collect(Collectors.joining("\n")));
    }
  }
}
