package dev.septum.lab.scenario;

/** A scenario file that cannot be run; the message names file, line, key and what is accepted. */
public final class ScenarioException extends Exception {
  private static final long serialVersionUID = 1L;

  /** A sentence that begins with file and line. */
  public ScenarioException(String message) {
    super(message);
  }
}
