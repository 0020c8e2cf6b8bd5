package dev.septum.lab.sweep;

import com.google.common.collect.ImmutableList;

/**
 * What came of a disturbed run of a flow.
 *
 * @param kind in a few words: absorbed, an errno, bugged
 * @param findings what should not be, one sentence each
 * @param passed the points that the flow passed
 * @param wasDisturbed whether everything that was planned happened
 */
record Outcome(
    String kind,
    ImmutableList<String> findings,
    ImmutableList<Point> passed,
    boolean wasDisturbed) {

  /** Nobody noticed. */
  static final String ABSORBED = "absorbed";
}
