package dev.septum.lab.bootlog;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.collect.Range;

/**
 * Guest RAM from {@code startGpa} (included) to {@code endGpa} (excluded), in bytes, of whole
 * pages.
 *
 * @param source where it is known from
 * @param assumed whether the log does not show it
 * @param line the log's line, 0 for none
 */
public record RamRange(long startGpa, long endGpa, RangeSource source, boolean assumed, int line) {

  /** Checks the bounds. */
  public RamRange {
    checkArgument(
        startGpa >= 0
            && startGpa < endGpa
            && endGpa <= MemRange.MAX_GPA
            && startGpa % MemRange.PAGE == 0
            && endGpa % MemRange.PAGE == 0,
        "RAM [0x%s, 0x%s) is not an ascending range of whole pages",
        Long.toHexString(startGpa),
        Long.toHexString(endGpa));
  }

  /** Size in bytes. */
  public long bytes() {
    return endGpa - startGpa;
  }

  Range<Long> toRange() {
    return Range.closedOpen(startGpa, endGpa);
  }
}
