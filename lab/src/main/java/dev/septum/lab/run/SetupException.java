package dev.septum.lab.run;

/** A host or a VM that cannot be set up as the scenario says. */
final class SetupException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  SetupException(String message) {
    super(message);
  }
}
