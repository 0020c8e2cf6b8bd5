package dev.septum.lab.scenario;

import com.google.common.collect.ImmutableList;

/**
 * A scenario that was read and checked, and where it came from.
 *
 * @param name the file, as the user named it
 * @param text what is in the file
 * @param lines on which line each value is
 */
public record ScenarioFile(String name, String text, Scenario scenario, Lines lines) {

  /** The line of a value, by its JSON pointer: {@code /phases/0/steps/2}. */
  public int lineOf(String pointer) {
    return lines.of(pointer);
  }

  /** The place of a value as messages begin: {@code file.yaml:12: phases[0].steps[2]}. */
  public String placeOf(String pointer) {
    return "%s:%d: %s".formatted(name, lineOf(pointer), Lines.text(pointer));
  }

  /** The backend that it is run on if nobody chooses one. */
  public String defaultBackend() {
    return scenario.backends().get(0);
  }

  /** The backends that it is written for. */
  public ImmutableList<String> backends() {
    return ImmutableList.copyOf(scenario.backends());
  }
}
