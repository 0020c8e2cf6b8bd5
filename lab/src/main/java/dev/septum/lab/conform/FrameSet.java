package dev.septum.lab.conform;

import java.util.NavigableMap;
import java.util.TreeMap;

/** Frames of the host, as ranges that do not touch. */
final class FrameSet {

  /** First frame to the first frame behind. */
  private final NavigableMap<Long, Long> ranges = new TreeMap<>();

  /** The frames that a recording lists: those behind the slots, before or after an operation. */
  static FrameSet listed(Backing before, Backing after) {
    FrameSet frames = new FrameSet();
    frames.add(before);
    frames.add(after);
    return frames;
  }

  private void add(Backing backing) {
    for (Backing.Slot slot : backing.slots()) {
      for (Backing.Run run : slot.runs()) {
        if (run.mapping() != Backing.Mapping.NOT_PRESENT) {
          add(run.pfn(), run.pfn() + run.count());
        }
      }
    }
  }

  void add(long start, long end) {
    long from = start;
    long to = end;
    var below = ranges.floorEntry(end);
    while (below != null && below.getValue() >= from) {
      from = Math.min(from, below.getKey());
      to = Math.max(to, below.getValue());
      ranges.remove(below.getKey());
      below = ranges.floorEntry(to);
    }
    ranges.put(from, to);
  }

  /** Whether all frames of a range are here. */
  boolean contains(long start, long end) {
    var below = ranges.floorEntry(start);
    return below != null && end <= below.getValue();
  }
}
