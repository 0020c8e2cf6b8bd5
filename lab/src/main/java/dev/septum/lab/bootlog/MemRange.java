package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.Range;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Physical addresses {@code start} (included) to {@code end} (excluded) that a line names. */
public record MemRange(long start, long end, LogLine line) {

  /** {@code [mem first-last]}: groups 1 and 2. */
  public static final String FORM = "\\[mem ([^\\s\\]-]+)\\s*-\\s*([^\\s\\])]+)\\]";

  static final long PAGE = 4096;

  /** Physical addresses have at most 52 bits. */
  static final long MAX_GPA = 1L << 52;

  /** The range whose last address a line names as {@code last}; both hexadecimal. */
  public static MemRange inclusive(LogLine line, String first, String last)
      throws BootLogException {
    long start = line.hex(first, MAX_GPA - 1);
    return checked(line, start, line.hex(last, MAX_GPA - 1) + 1);
  }

  /** The range up to {@code end}, which is not part of it; both hexadecimal. */
  public static MemRange exclusive(LogLine line, String first, String end) throws BootLogException {
    return checked(line, line.hex(first, MAX_GPA), line.hex(end, MAX_GPA));
  }

  static MemRange checked(LogLine line, long start, long end) throws BootLogException {
    if (end <= start) {
      throw line.error("end 0x%x is not after start 0x%x".formatted(end, start));
    }
    if (end > MemRange.MAX_GPA) {
      throw line.error("end 0x%x is beyond 52 bits of guest physical address".formatted(end));
    }
    return new MemRange(start, end, line);
  }

  /** The same range in Guava's terms. */
  Range<Long> toRange() {
    return Range.closedOpen(start, end);
  }

  /** The whole pages inside; a range without one is an error. */
  public MemRange wholePages() throws BootLogException {
    long first = (start + PAGE - 1) & -PAGE;
    long last = end & -PAGE;
    if (first >= last) {
      throw line.error("range %s holds no whole 4 KiB page".formatted(this));
    }
    return new MemRange(first, last, line);
  }

  /** Ascending, each range once; ranges of one source that overlap otherwise are an error. */
  public static ImmutableList<MemRange> inOrder(List<MemRange> ranges) throws BootLogException {
    List<MemRange> sorted = new ArrayList<>(ranges);
    sorted.sort(Comparator.comparingLong(MemRange::start).thenComparingLong(MemRange::end));
    List<MemRange> out = new ArrayList<>();
    for (MemRange range : sorted) {
      MemRange last = out.isEmpty() ? null : out.get(out.size() - 1);
      if (last == null || range.start >= last.end) {
        out.add(range);
      } else if (range.start != last.start || range.end != last.end) {
        boolean inFileOrder = range.line.number() > last.line.number();
        MemRange earlier = inFileOrder ? last : range;
        MemRange later = inFileOrder ? range : last;
        throw later.line.error(
            "range %s overlaps %s of line %d".formatted(later, earlier, earlier.line.number()));
      }
    }
    return ImmutableList.copyOf(out);
  }

  /** Ranges in order with neighbours that touch made one. */
  static ImmutableList<MemRange> joined(List<MemRange> inOrder) {
    List<MemRange> out = new ArrayList<>();
    for (MemRange range : inOrder) {
      MemRange last = out.isEmpty() ? null : out.get(out.size() - 1);
      if (last != null && last.end == range.start) {
        out.set(out.size() - 1, new MemRange(last.start, range.end, last.line));
      } else {
        out.add(range);
      }
    }
    return ImmutableList.copyOf(out);
  }

  @Override
  public String toString() {
    return "[0x%x, 0x%x)".formatted(start, end);
  }
}
