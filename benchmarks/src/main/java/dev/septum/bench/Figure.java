package dev.septum.bench;

import org.jspecify.annotations.Nullable;

/**
 * What one tool took for one program on one JDK. Times are in seconds; null where there is none.
 *
 * @param tool which, and how it was used
 * @param java the JDK's version
 * @param first until the mutant, which does not count again, fails
 * @param complete until nothing is left to explore of the sound protocol
 * @param executions runs of the sound protocol, or distinct states of its specification
 * @param perSecond such runs or states a second
 * @param stepsPerSecond scheduling points a second
 */
record Figure(
    Tool tool,
    int java,
    @Nullable Span first,
    @Nullable Span complete,
    long executions,
    double perSecond,
    @Nullable Double stepsPerSecond) {

  /**
   * A time.
   *
   * @param cold from the start of the JVM
   * @param warm in a JVM that has done the same before; of TLC, from its first line of output
   */
  record Span(double cold, double warm) {}
}
