package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;

/**
 * The order in which a guest accepts its RAM ({@code try_accept_memory}): in each range 4K pages up
 * to the first 2M boundary, then 2M pages, then 4K pages to the end.
 */
public record AcceptPlan(ImmutableList<RangeAccepts> ranges) {

  /**
   * {@code count} accepts at one level, one after the other.
   *
   * @param startGpa address of the first
   */
  public record AcceptRun(long startGpa, PageLevel level, long count) {}

  /** How one range is accepted; runs are ascending and cover it exactly. */
  public record RangeAccepts(RamRange range, ImmutableList<AcceptRun> runs) {

    /** Accepts at 2M. */
    public long accepts2m() {
      return count(PageLevel.LEVEL_2M);
    }

    /** Accepts at 4K. */
    public long accepts4k() {
      return count(PageLevel.LEVEL_4K);
    }

    private long count(PageLevel level) {
      return runs.stream().filter(r -> r.level() == level).mapToLong(AcceptRun::count).sum();
    }
  }

  /** The plan of a guest. */
  public static AcceptPlan of(GuestMemoryMap map) {
    return new AcceptPlan(
        map.ram().stream().map(AcceptPlan::accepts).collect(ImmutableList.toImmutableList()));
  }

  /** Accepts at 2M over all ranges. */
  public long accepts2m() {
    return ranges.stream().mapToLong(RangeAccepts::accepts2m).sum();
  }

  /** Accepts at 4K over all ranges. */
  public long accepts4k() {
    return ranges.stream().mapToLong(RangeAccepts::accepts4k).sum();
  }

  private static RangeAccepts accepts(RamRange range) {
    long firstHuge = Math.min(Size2M.roundUp(range.startGpa()), range.endGpa());
    long lastHuge = Math.max(Size2M.roundDown(range.endGpa()), firstHuge);
    ImmutableList.Builder<AcceptRun> runs = ImmutableList.builder();
    add(runs, range.startGpa(), firstHuge, PageLevel.LEVEL_4K);
    add(runs, firstHuge, lastHuge, PageLevel.LEVEL_2M);
    add(runs, lastHuge, range.endGpa(), PageLevel.LEVEL_4K);
    return new RangeAccepts(range, runs.build());
  }

  private static void add(
      ImmutableList.Builder<AcceptRun> runs, long start, long end, PageLevel level) {
    if (start < end) {
      runs.add(new AcceptRun(start, level, (end - start) / (level.pages() * MemRange.PAGE)));
    }
  }
}
