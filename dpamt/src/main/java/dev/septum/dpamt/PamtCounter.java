package dev.septum.dpamt;

import java.util.Locale;

/**
 * What a {@link Dpamt} counts. Without callers inside, {@link #PAIRS_ADDED} and {@link
 * #PAIRS_DEMOTED} less {@link #PAIRS_REMOVED} are the pairs installed.
 */
public enum PamtCounter {
  /** Gets that found a pair installed and took no lock. */
  FAST_GETS,
  /** Gets that found none and set out to install one, whatever came of it. */
  SLOW_GETS,
  /** Slow gets that found a pair under the lock after all, and gave their own back. */
  LOST_RACES,
  /** Slow gets that found the pair of a put on its way out still in the module (v4). */
  PAIRS_RESCUED,
  /** Gets that failed because there were no two pages. */
  PAIR_SHORTAGES,
  /** Slow gets whose PAMT.ADD failed. In v4 they succeed all the same. */
  ADD_FAILURES,
  /** Puts that left other users behind and took no lock. */
  FAST_PUTS,
  /** Puts that took the lock, since they looked like the last. */
  SLOW_PUTS,
  /** Puts of a page that the module called the last of its range. */
  REMOVAL_HINTS,
  /** Last puts whose PAMT.REMOVE failed: the range keeps its pair, without a user. */
  REMOVE_FAILURES,
  /** Pairs that PAMT.ADD installed. */
  PAIRS_ADDED,
  /** Pairs that a DEMOTE installed. */
  PAIRS_DEMOTED,
  /** Pairs that PAMT.REMOVE gave back. */
  PAIRS_REMOVED;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
