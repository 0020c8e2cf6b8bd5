package dev.septum.kit;

import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.opentest4j.TestAbortedException;

/** A rule that cannot be judged, since the backend breaks another one that it rests on. */
final class NotJudged extends TestAbortedException {
  private static final long serialVersionUID = 1L;

  NotJudged(String message) {
    super(message);
  }

  NotJudged(String message, @Nullable Throwable cause) {
    super(message, cause);
  }

  /** Aborts the test unless what it rests on holds. */
  static void unless(boolean holds, String message) {
    unless(holds, () -> message);
  }

  /** The same, with a message that is made only then. */
  static void unless(boolean holds, Supplier<String> message) {
    if (!holds) {
      throw new NotJudged(message.get());
    }
  }
}
