package dev.septum.lab.run;

import java.util.function.Supplier;
import org.slf4j.MDC;

/** Keeps log lines back that say what was made to go wrong. */
public final class QuietLog {

  /** The key that the configuration of the log looks for. */
  private static final String DISTURBED = "disturbed";

  private QuietLog() {}

  /** Does work without its thread's log lines. */
  public static <T> T during(Supplier<T> work) {
    MDC.put(DISTURBED, "true");
    try {
      return work.get();
    } finally {
      MDC.remove(DISTURBED);
    }
  }

  /** The same work, without its log lines. */
  public static Runnable quiet(Runnable work) {
    return () ->
        during(
            () -> {
              work.run();
              return work;
            });
  }
}
