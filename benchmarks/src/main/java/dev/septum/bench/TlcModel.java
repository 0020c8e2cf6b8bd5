package dev.septum.bench;

import static java.util.Objects.requireNonNull;

import com.google.common.collect.ImmutableList;
import dev.septum.bench.ChildJvm.Line;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** The protocol's specification, where TLC can read it, with a configuration for each run. */
final class TlcModel {

  private static final String MODULE = "SplitCache";

  private static final Pattern STATES = Pattern.compile("(\\d+) distinct states found");

  private static final String CONFIGURATION =
      """
      SPECIFICATION Spec
      INVARIANT NeverEmpty
      CONSTANTS
        Splitters = {%s}
        Toppers = {%s}
        Cached = 4
        MinSize = 4
        Taken = %d
        Failures = 1
        ChecksAgain = %s
      """;

  private final Path directory;

  /** Puts the specification into a directory. */
  TlcModel(Path directory) {
    this.directory = directory;
    try (InputStream specification =
        requireNonNull(TlcModel.class.getResourceAsStream(MODULE + ".tla"))) {
      Files.copy(specification, directory.resolve(MODULE + ".tla"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Checks it with so many threads, as it is or as the mutant. */
  ImmutableList<Line> run(Path javaHome, int splitters, int toppers, boolean checksAgain) {
    Path configuration = directory.resolve(MODULE + ".cfg");
    try {
      Files.writeString(
          configuration,
          CONFIGURATION.formatted(
              names("s", splitters),
              names("t", toppers),
              checksAgain ? 2 : 4,
              checksAgain ? "TRUE" : "FALSE"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return ChildJvm.run(
        javaHome,
        "tlc2.TLC",
        ImmutableList.of(
            "-workers",
            "auto",
            "-metadir",
            directory.resolve("states").toString(),
            "-config",
            configuration.toString(),
            directory.resolve(MODULE).toString()));
  }

  private static String names(String prefix, int count) {
    return IntStream.rangeClosed(1, count)
        .mapToObj(i -> prefix + i)
        .collect(Collectors.joining(", "));
  }

  /** How many states a run found. */
  static long distinctStates(List<Line> lines) {
    Matcher matcher = STATES.matcher(ChildJvm.find(lines, "states generated, ").text());
    if (!matcher.find()) {
      throw new IllegalStateException("TLC does not say how many states it found");
    }
    return Long.parseLong(matcher.group(1));
  }
}
