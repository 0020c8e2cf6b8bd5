package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.Range;
import java.util.List;

/**
 * What one source says about RAM.
 *
 * @param kind the source
 * @param ranges its RAM, ascending, without overlaps
 * @param covered the addresses that it speaks of: what it does not name in there is not RAM
 */
record RamSource(RangeSource kind, ImmutableList<MemRange> ranges, Range<Long> covered) {

  /** All addresses: nothing is left to other sources. */
  static final Range<Long> EVERYTHING = Range.closedOpen(0L, MemRange.MAX_GPA);

  /** A source that speaks of {@code from} to {@code to}. */
  static RamSource of(RangeSource kind, List<MemRange> ranges, long from, long to) {
    return new RamSource(kind, ImmutableList.copyOf(ranges), Range.closedOpen(from, to));
  }

  /** A source that speaks of everything from its first range to its last. */
  static RamSource of(RangeSource kind, List<MemRange> ranges) {
    return ranges.isEmpty()
        ? of(kind, ranges, 0, 0)
        : of(kind, ranges, ranges.get(0).start(), ranges.get(ranges.size() - 1).end());
  }
}
