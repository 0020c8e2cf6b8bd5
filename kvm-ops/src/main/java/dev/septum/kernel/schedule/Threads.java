package dev.septum.kernel.schedule;

/** Sets of threads as the bits of a long. */
final class Threads {

  private Threads() {}

  /** The thread with {@code n} others of the set below it. */
  static int nth(long set, int n) {
    long rest = set;
    for (int i = 0; i < n; i++) {
      rest &= rest - 1;
    }
    return Long.numberOfTrailingZeros(rest);
  }
}
