package dev.septum.bench;

import com.google.common.collect.ImmutableList;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A JVM that is started anew for a measurement, with what it printed and when. */
final class ChildJvm {

  /**
   * A line of the child's output.
   *
   * @param nanos since the JVM was started
   */
  record Line(long nanos, String text) {}

  private ChildJvm() {}

  /** Runs a class of this class path on the JDK in {@code javaHome} to its end. */
  static ImmutableList<Line> run(Path javaHome, String mainClass, List<String> arguments) {
    List<String> command = new ArrayList<>();
    command.add(javaHome.resolve("bin").resolve("java").toString());
    // Lincheck attaches an agent to itself, of which newer JDKs warn.
    command.add("-XX:+EnableDynamicAgentLoading");
    command.add("-Dslf4j.internal.verbosity=ERROR");
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(mainClass);
    command.addAll(arguments);
    try {
      return lines(command);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while measuring " + mainClass, e);
    }
  }

  private static ImmutableList<Line> lines(List<String> command)
      throws IOException, InterruptedException {
    ImmutableList.Builder<Line> lines = ImmutableList.builder();
    long start = System.nanoTime();
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        lines.add(new Line(System.nanoTime() - start, line));
      }
    }
    process.waitFor();
    return lines.build();
  }

  /** The first line that contains {@code text}. */
  static Line find(List<Line> lines, String text) {
    return lines.stream()
        .filter(line -> line.text().contains(text))
        .findFirst()
        .orElseThrow(() -> new IllegalStateException("no \"%s\" in%n%s".formatted(text, lines)));
  }
}
