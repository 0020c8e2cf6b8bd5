package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import java.util.Optional;

/**
 * How a recording and our MMU compare.
 *
 * @param races how often its race was run on threads; 0 if it has none
 * @param violations what a race did that the rules do not allow, or why the MMU stopped
 */
public record ConformResult(
    String name,
    int ops,
    long events,
    int races,
    Optional<Difference> difference,
    ImmutableList<String> violations) {

  /** Whether nothing was found. */
  public boolean isEqual() {
    return difference.isEmpty() && violations.isEmpty();
  }
}
