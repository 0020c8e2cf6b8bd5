package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
import org.jspecify.annotations.Nullable;

/**
 * One run, step by step, from the start of its second thread on.
 *
 * @param threads the names of the threads, by their numbers
 * @param lines what they did, in its order
 * @param outcome what the program said that the run came to; null if nothing
 * @param finding what is wrong with it; null if nothing
 */
public record RunTrace(
    ImmutableList<String> threads,
    ImmutableList<Line> lines,
    @Nullable String outcome,
    @Nullable Finding finding) {

  /** How many steps were taken. */
  public int steps() {
    return (int) lines.stream().filter(Line::isStep).count();
  }

  /**
   * What one thread did.
   *
   * @param isStep a step that others can meet, and not just a note of the program's
   */
  public record Line(int thread, boolean isStep, String text) {}
}
