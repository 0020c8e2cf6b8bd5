package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/** Where RAM ends below and above 4 GiB, as lines tell that do not list RAM. */
final class MemoryEnds {

  static final long SIZE_1M = 1L << 20;
  static final long SIZE_4G = 1L << 32;

  /** q35 has 2 GiB below 4 GiB in a guest of 2816 MiB or more. */
  private static final long Q35_LOW_END = 2L << 30;

  private final LogFacts facts;
  private final RangeSet<Long> holes;

  MemoryEnds(LogFacts facts, RangeSet<Long> holes) {
    this.facts = facts;
    this.holes = holes;
  }

  /** First address after the RAM below 4 GiB: the last pfn there, the last hole, or q35's. */
  long lowEnd() {
    Optional<Long> lastPfn =
        facts.lastAddresses.stream().filter(end -> end <= SIZE_4G).max(Comparator.naturalOrder());
    if (lastPfn.isPresent()) {
      return lastPfn.get();
    }
    Range<Long> topHole = holes.rangeContaining(SIZE_4G - 1);
    if (topHole != null) {
      return topHole.lowerEndpoint();
    }
    Optional<MemRange> span = longestSpan();
    if (span.isPresent() && span.get().end() < SIZE_4G) {
      return span.get().end();
    }
    MemRange swiotlb = facts.swiotlb;
    return swiotlb != null && swiotlb.end() <= SIZE_4G
        ? Math.max(swiotlb.end(), Q35_LOW_END)
        : Q35_LOW_END;
  }

  /**
   * RAM that must be there above what other sources cover: below 4 GiB from {@code coveredLowEnd}
   * on (0 if they cover nothing there), and from 4 GiB on.
   */
  RamSource above(long coveredLowEnd) {
    List<MemRange> ranges = new ArrayList<>();
    Optional<MemRange> high = highRange();
    boolean tellsEnds = high.isPresent() || !facts.lastAddresses.isEmpty();
    if (tellsEnds && coveredLowEnd > 0 && coveredLowEnd < lowEnd()) {
      ranges.add(new MemRange(coveredLowEnd, lowEnd(), LogLine.NONE));
    }
    high.ifPresent(ranges::add);
    return new RamSource(
        RangeSource.MEMORY_ENDS, ImmutableList.copyOf(ranges), Range.closedOpen(0L, 0L));
  }

  private Optional<MemRange> highRange() {
    Optional<MemRange> span = longestSpan();
    long end =
        facts.lastAddresses.stream()
            .max(Comparator.naturalOrder())
            .orElse(span.map(MemRange::end).orElse(0L));
    return end <= SIZE_4G
        ? Optional.empty()
        : Optional.of(new MemRange(SIZE_4G, end, span.map(MemRange::line).orElse(LogLine.NONE)));
  }

  private Optional<MemRange> longestSpan() {
    return facts.spans.stream().max(Comparator.comparingLong(MemRange::end));
  }
}
