package dev.septum.kernel.schedule;

import org.jspecify.annotations.Nullable;

/**
 * Watches an exploration that is done in parts, from the thread that called for it. The parts are
 * the same whenever the program and the bounds are, whatever the number of workers.
 */
@FunctionalInterface
public interface ExplorationWatcher {

  /** Watches nothing. */
  ExplorationWatcher NONE = (runs, partsDone, parts) -> true;

  /**
   * Called every now and then; false ends the exploration, bounded.
   *
   * @param runs schedules run so far, those that were pruned included
   * @param partsDone parts of which nothing is left
   * @param parts how many there are
   */
  boolean mayGoOn(long runs, int partsDone, int parts);

  /** What part number {@code part} came to when it was done before; null if it is to be done. */
  default @Nullable ExplorationResult known(int part) {
    return null;
  }

  /** Part number {@code part} was done to its end. */
  default void done(int part, ExplorationResult result) {}
}
