package dev.septum.kvm;

/** Guest frames {@code start} (included) to {@code end} (excluded), of 4 KiB each. */
public record GfnRange(long start, long end) {

  /** Checks the bounds. */
  public GfnRange {
    if (start < 0 || end < start) {
      throw new IllegalArgumentException(
          "gfn range [0x%x, 0x%x) is not ascending".formatted(start, end));
    }
  }

  /** The range of {@code pages} frames at {@code start}. */
  public static GfnRange ofPages(long start, long pages) {
    return new GfnRange(start, start + pages);
  }

  /** 4 KiB frames in the range. */
  public long pages() {
    return end - start;
  }

  /** Whether the range has no frame. */
  public boolean isEmpty() {
    return start == end;
  }

  /** Whether the frame is in the range. */
  public boolean contains(long gfn) {
    return gfn >= start && gfn < end;
  }

  /** Whether {@code other} lies between this range's bounds; an empty range may lie there too. */
  public boolean contains(GfnRange other) {
    return other.start >= start && other.end <= end;
  }

  /** Whether the ranges share a frame. */
  public boolean overlaps(GfnRange other) {
    return Math.max(start, other.start) < Math.min(end, other.end);
  }

  /** The frames in both ranges; empty at this range's start when there are none. */
  public GfnRange intersect(GfnRange other) {
    long from = Math.max(start, other.start);
    long to = Math.min(end, other.end);
    return from < to ? new GfnRange(from, to) : new GfnRange(start, start);
  }

  @Override
  public String toString() {
    return "[0x%x, 0x%x)".formatted(start, end);
  }
}
