package dev.septum.kernel.schedule;

/** Chooses who goes next, one schedule after another. */
interface Strategy {

  /** No thread: the schedule leads nowhere new, and its run can end here. */
  int PRUNE = -1;

  /** Prepares for the next schedule; false when there is none left. */
  boolean next();

  /**
   * The thread that goes next.
   *
   * @param enabled bit {@code i} for thread {@code i}; at least one, none that gives way in vain
   * @param last the thread that took the last step
   */
  int chooseThread(ScheduledRun run, long enabled, int last);

  /** One of {@code alternatives}, which is 2 or more. */
  int chooseValue(ScheduledRun run, int alternatives);

  /** The thread takes the step that it stands before, which was chosen or the only one. */
  default void stepping(ScheduledRun run, EmulatedThread thread) {}

  /** Choices that were new, with all that led to them; 0 for one that cannot tell. */
  default long states() {
    return 0;
  }

  /** Whether {@link #stepping} needs to know which steps come before which. */
  default boolean ordersSteps() {
    return false;
  }
}
