package dev.septum.lab;

import com.google.common.io.Resources;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.ScenarioReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;

/** The scenarios that come with Septum. */
final class Bundled {

  private static final String DIRECTORY = "dev/septum/lab/scenarios/";
  private static final String EXPLORED = "explore.list";

  private Bundled() {}

  /** The names of those that septum explore knows, for its help. */
  static final class Explored implements Iterable<String> {
    @Override
    public Iterator<String> iterator() {
      try {
        return names(EXPLORED).stream().map(Bundled::shortName).iterator();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** The scenarios that a list names, in its order. */
  static List<ScenarioFile> listed(String list, Set<String> backends)
      throws ScenarioException, IOException {
    List<ScenarioFile> read = new ArrayList<>();
    for (String name : names(list)) {
      read.add(read(name, backends));
    }
    return read;
  }

  /** The scenario that is in a file, or that comes with Septum under that name. */
  static ScenarioFile explored(String nameOrFile, Set<String> backends)
      throws ScenarioException, IOException {
    if (!Files.exists(Path.of(nameOrFile))) {
      for (String name : names(EXPLORED)) {
        if (shortName(name).equals(nameOrFile)) {
          return read(name, backends);
        }
      }
    }
    return ScenarioReader.read(Path.of(nameOrFile), backends);
  }

  private static List<String> names(String list) throws IOException {
    return Resources.readLines(Resources.getResource(DIRECTORY + list), StandardCharsets.UTF_8);
  }

  private static String shortName(String name) {
    return name.substring(name.lastIndexOf('/') + 1).replace(".yaml", "");
  }

  private static ScenarioFile read(String name, Set<String> backends)
      throws ScenarioException, IOException {
    return ScenarioReader.read(
        "lab/scenarios/" + name,
        Resources.toString(Resources.getResource(DIRECTORY + name), StandardCharsets.UTF_8),
        backends);
  }
}
