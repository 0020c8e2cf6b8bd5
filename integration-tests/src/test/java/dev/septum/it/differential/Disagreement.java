package dev.septum.it.differential;

/** Where two backends do not do the same, with what it takes to see it again. */
final class Disagreement extends AssertionError {
  private static final long serialVersionUID = 1L;

  Disagreement(String message) {
    super(message);
  }
}
