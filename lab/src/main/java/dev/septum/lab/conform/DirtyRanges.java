package dev.septum.lab.conform;

import com.google.common.primitives.ImmutableLongArray;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/** Dirty pages as pairs of first page and number of pages, and as the words of a bitmap. */
final class DirtyRanges {

  private DirtyRanges() {}

  /** The ranges of set bits, lowest first. */
  static List<long[]> of(ImmutableLongArray words) {
    BitSet bits = BitSet.valueOf(words.toArray());
    List<long[]> ranges = new ArrayList<>();
    for (int start = bits.nextSetBit(0); start >= 0; ) {
      int end = bits.nextClearBit(start);
      ranges.add(new long[] {start, end - start});
      start = bits.nextSetBit(end);
    }
    return ranges;
  }

  /** The words of a bitmap of so many pages with these ranges set. */
  static ImmutableLongArray words(List<long[]> ranges, long pages) {
    int words = Math.toIntExact((pages + 63) / 64);
    BitSet bits = new BitSet(words * 64);
    for (long[] range : ranges) {
      bits.set(Math.toIntExact(range[0]), Math.toIntExact(range[0] + range[1]));
    }
    long[] set = bits.toLongArray();
    ImmutableLongArray.Builder all = ImmutableLongArray.builder(words);
    for (int i = 0; i < words; i++) {
      all.add(i < set.length ? set[i] : 0);
    }
    return all.build();
  }
}
