package dev.septum.lab.explore;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.datatype.guava.GuavaModule;
import com.google.common.hash.Hashing;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The parts of an exploration that are done, in a file: a line that says of what, then one line of
 * JSON for each part.
 */
public final class SavedParts {

  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .addModule(new GuavaModule())
          .disable(MapperFeature.AUTO_DETECT_IS_GETTERS)
          .build();

  private record Part(int part, ExplorationResult result) {}

  private final Path file;
  private final Map<Integer, ExplorationResult> parts = new HashMap<>();

  private SavedParts(Path file) {
    this.file = file;
  }

  /**
   * Goes on with what is in a file, or begins a new one.
   *
   * @throws ScenarioException if the file is of another exploration
   */
  public static SavedParts in(Path file, ScenarioFile scenario, String backend, Search search)
      throws ScenarioException {
    String title =
        "septum explore, parts done of %s"
            .formatted(
                Hashing.sha256()
                    .hashString(
                        String.join("\n", scenario.text(), backend, search.toString()), UTF_8));
    SavedParts saved = new SavedParts(file);
    try {
      if (Files.exists(file) && Files.size(file) > 0) {
        saved.read(title);
      } else {
        Files.writeString(file, title + "\n", UTF_8);
      }
    } catch (IOException e) {
      throw new ScenarioException("%s: cannot be used: %s".formatted(file, e.getMessage()));
    }
    return saved;
  }

  private void read(String title) throws IOException, ScenarioException {
    List<String> lines = Files.readAllLines(file, UTF_8);
    if (!lines.get(0).equals(title)) {
      throw new ScenarioException(
          "%s:1: this is of another scenario, backend or search; delete it to begin anew"
              .formatted(file));
    }
    for (int i = 1; i < lines.size(); i++) {
      try {
        Part part = MAPPER.readValue(lines.get(i), Part.class);
        parts.put(part.part, part.result);
      } catch (JsonProcessingException e) {
        if (i < lines.size() - 1) {
          throw new ScenarioException(
              "%s:%d: this is no part; delete the file to begin anew".formatted(file, i + 1));
        }
        // Whoever wrote it was interrupted: the part is done again.
        Files.write(file, lines.subList(0, i), UTF_8);
      }
    }
  }

  /** What a part came to; null if it is not done. */
  public @Nullable ExplorationResult known(int part) {
    return parts.get(part);
  }

  /** A part is done. */
  public void add(int part, ExplorationResult result) {
    try {
      Files.writeString(
          file,
          MAPPER.writeValueAsString(new Part(part, result)) + "\n",
          UTF_8,
          StandardOpenOption.APPEND);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
