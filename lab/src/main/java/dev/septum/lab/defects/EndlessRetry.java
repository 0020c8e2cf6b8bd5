package dev.septum.lab.defects;

/** Ends a loop that would not end by itself. */
final class EndlessRetry extends RuntimeException {
  private static final long serialVersionUID = 1L;

  EndlessRetry(long rounds) {
    super(rounds + " rounds without progress");
  }
}
