package dev.septum.kernel.schedule;

/** Unwinds an emulated thread whose run is over. Never leaves this package. */
final class Abort extends Error {

  private static final long serialVersionUID = 1L;

  Abort() {
    super("the run is over", null, false, false);
  }
}
