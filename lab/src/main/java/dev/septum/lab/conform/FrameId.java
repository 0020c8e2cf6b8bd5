package dev.septum.lab.conform;

/**
 * What a frame is used for, in words that both sides share: the n-th table, or page, of a gfn.
 *
 * @param level of a table, its level; {@link #PAGE} for a page that the recording does not list
 * @param number tells those apart that were there one after the other
 */
record FrameId(int level, long gfn, int number) {

  static final int PAGE = 0;
}
