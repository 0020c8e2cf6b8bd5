package dev.septum.lab.explore;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.dataformat.yaml.YAMLGenerator;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.septum.kernel.schedule.Schedule;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.ScenarioReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Set;

/**
 * A schedule of a scenario, with all that it takes to run it again.
 *
 * @param septumSchedule the format
 * @param scenario the file that the scenario was in
 * @param backend it runs on
 * @param cameTo what it came to: an outcome, or what was found
 * @param steps it took
 * @param schedule its choices
 * @param text the scenario
 */
@JsonPropertyOrder({
  "septum-schedule",
  "scenario",
  "backend",
  "bounds",
  "came-to",
  "steps",
  "schedule",
  "text"
})
record ScheduleFile(
    int septumSchedule,
    String scenario,
    String backend,
    Search.Bounds bounds,
    String cameTo,
    int steps,
    String schedule,
    String text) {

  private static final int FORMAT = 1;
  private static final long MAX_BYTES = 16 << 20;

  private static final YAMLMapper MAPPER =
      YAMLMapper.builder()
          .enable(YAMLGenerator.Feature.LITERAL_BLOCK_STYLE)
          .enable(YAMLGenerator.Feature.MINIMIZE_QUOTES)
          .disable(YAMLGenerator.Feature.SPLIT_LINES)
          .disable(YAMLGenerator.Feature.WRITE_DOC_START_MARKER)
          .propertyNamingStrategy(PropertyNamingStrategies.KEBAB_CASE)
          .enable(DeserializationFeature.FAIL_ON_NULL_CREATOR_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .build();

  static ScheduleFile of(
      ScenarioFile file,
      String backend,
      Search.Bounds bounds,
      String cameTo,
      int steps,
      Schedule schedule) {
    return new ScheduleFile(
        FORMAT, file.name(), backend, bounds, cameTo, steps, schedule.toText(), file.text());
  }

  /** Writes it, whole or not at all. */
  void write(Path target) throws IOException {
    Path part = target.resolveSibling(target.getFileName() + ".part");
    try {
      Files.writeString(part, MAPPER.writeValueAsString(this), UTF_8);
      Files.move(part, target, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  /**
   * Reads a schedule.
   *
   * @throws ScenarioException if the file is none; the message says where and why
   */
  static ScheduleFile read(Path file) throws ScenarioException {
    ScheduleFile read;
    try {
      read = MAPPER.readValue(ScenarioReader.textOf(file, MAX_BYTES), ScheduleFile.class);
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw new ScenarioException(
          "%s:%d: this is no schedule that septum explore wrote: %s"
              .formatted(file, line, firstLine(e)));
    }
    if (read == null || read.septumSchedule != FORMAT) {
      throw new ScenarioException(
          "%s: septum-schedule is %s, accepted: %d"
              .formatted(file, read == null ? "missing" : read.septumSchedule, FORMAT));
    }
    return read;
  }

  /** What Jackson says, without how it was told to. */
  private static String firstLine(JsonProcessingException e) {
    return e.getOriginalMessage().lines().findFirst().orElse("").replaceFirst(" \\(index .*", "");
  }

  /** The scenario in the file. */
  ScenarioFile scenarioFile(Set<String> backends) throws ScenarioException {
    return ScenarioReader.read(scenario, text, backends);
  }

  /** The choices in the file. */
  Schedule choices(Path file) throws ScenarioException {
    try {
      return Schedule.parse(schedule);
    } catch (IllegalArgumentException e) {
      throw new ScenarioException("%s: schedule: %s".formatted(file, e.getMessage()));
    }
  }
}
