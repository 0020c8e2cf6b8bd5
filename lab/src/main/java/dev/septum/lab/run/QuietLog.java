package dev.septum.lab.run;

import org.slf4j.MDC;

/** Keeps log lines back that say what was made to go wrong. */
public final class QuietLog {

  /** The key that the configuration of the log looks for. */
  private static final String DISTURBED = "disturbed";

  private QuietLog() {}

  /** Runs work without its thread's log lines. */
  public static void during(Runnable work) {
    MDC.put(DISTURBED, "true");
    try {
      work.run();
    } finally {
      MDC.remove(DISTURBED);
    }
  }

  /** The same work, without its log lines. */
  public static Runnable quiet(Runnable work) {
    return () -> during(work);
  }
}
