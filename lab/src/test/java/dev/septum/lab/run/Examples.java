package dev.septum.lab.run;

import dev.septum.kvm.TraceSink;
import dev.septum.lab.TestBackends;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The scenarios in lab/scenarios, and texts of the tests, run as the command runs them. */
public final class Examples {

  /** Where the examples are. */
  public static final Path DIRECTORY = Path.of(System.getProperty("basedir", "."), "scenarios");

  private Examples() {}

  /** Every example. */
  public static List<Path> all() throws IOException {
    try (Stream<Path> files = Files.list(DIRECTORY)) {
      return files.filter(file -> file.toString().endsWith(".yaml")).sorted().toList();
    }
  }

  /** Runs a scenario on a backend. */
  public static RunReport run(ScenarioFile file, String backend) throws ScenarioException {
    return ScenarioRun.run(file, TestBackends.named(backend), TraceSink.OFF);
  }

  /** Runs a text on the first backend that it names. */
  public static RunReport run(String text) throws ScenarioException {
    ScenarioFile file = TestBackends.read("s.yaml", text);
    return run(file, file.defaultBackend());
  }

  /** What was found, as {@code line: text}. */
  public static List<String> findings(RunReport report) {
    return report.allFindings().stream()
        .map(found -> "%d: %s".formatted(found.line(), found.text()))
        .toList();
  }
}
