package dev.septum.kernel.schedule;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** How many steps of each thread come before something; clocks are arrays that nobody changes. */
final class VectorClock {

  static final int[] ZERO = {};

  private VectorClock() {}

  static int of(int[] clock, int thread) {
    return thread < clock.length ? clock[thread] : 0;
  }

  /** A clock that comes after both; null stands for none. */
  static int @Nullable [] join(int @Nullable [] a, int @Nullable [] b) {
    if (a == null || b == null) {
      return a == null ? b : a;
    }
    int[] joined = Arrays.copyOf(a, Math.max(a.length, b.length));
    for (int i = 0; i < b.length; i++) {
      joined[i] = Math.max(joined[i], b[i]);
    }
    return joined;
  }

  /** Makes {@code into}, which nobody else has yet and which is long enough, come after both. */
  static void joinInto(int[] into, int @Nullable [] other) {
    if (other != null) {
      for (int i = 0; i < other.length; i++) {
        into[i] = Math.max(into[i], other[i]);
      }
    }
  }
}
