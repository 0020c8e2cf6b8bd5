package dev.septum.lab.bootlog;

import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import com.google.common.math.LongMath;
import java.util.List;
import java.util.Optional;

/** Finds the DMA bounce buffer of a guest: where the log has it, else where memblock puts it. */
final class SwiotlbInference {

  private static final long MIN_BYTES = 64L << 20;
  private static final long MAX_BYTES = 1L << 30;
  private static final int PERCENT_OF_RAM = 6;

  private final LogFacts facts;
  private final RangeSet<Long> ram = TreeRangeSet.create();
  private final long ramBytes;
  private final List<Assumption> assumptions;

  private SwiotlbInference(LogFacts facts, List<RamRange> ram, List<Assumption> assumptions) {
    this.facts = facts;
    ram.forEach(r -> this.ram.add(r.toRange()));
    this.ramBytes = ram.stream().mapToLong(RamRange::bytes).sum();
    this.assumptions = assumptions;
  }

  /** The buffer in a guest's RAM; what goes beyond the log is added to {@code assumptions}. */
  static Optional<SwiotlbBuffer> infer(
      LogFacts facts, List<RamRange> ram, boolean assumeMemory, List<Assumption> assumptions)
      throws BootLogException {
    SwiotlbInference inference = new SwiotlbInference(facts, ram, assumptions);
    return facts.swiotlb == null ? inference.place() : inference.check(facts.swiotlb, assumeMemory);
  }

  private Optional<SwiotlbBuffer> check(MemRange logged, boolean assumeMemory)
      throws BootLogException {
    if (ram.encloses(logged.toRange())) {
      return Optional.of(new SwiotlbBuffer(logged.start(), logged.end(), false));
    }
    if (!assumeMemory) {
      assume("the bounce buffer is in memory that was left out: it is not converted");
      return Optional.empty();
    }
    throw logged.line().error("bounce buffer %s is not in the guest's RAM".formatted(logged));
  }

  /**
   * The highest RAM below 4 GiB that is large enough, from its top ({@code memblock_alloc_low}).
   */
  private Optional<SwiotlbBuffer> place() {
    LogLine none = facts.noSwiotlb;
    if (none != null) {
      assume("no bounce buffer is converted: line %d says so".formatted(none.number()));
      return Optional.empty();
    }
    long bytes = (facts.swiotlbBytes.orElseGet(this::usualBytes) + 4095) & -MemRange.PAGE;
    Range<Long> low = Range.closedOpen(0L, MemoryEnds.SIZE_4G);
    for (Range<Long> range : ram.subRangeSet(low).asDescendingSetOfRanges()) {
      long end = range.upperEndpoint();
      if (bytes > 0 && end - range.lowerEndpoint() >= bytes) {
        assume(
            "the log does not place the bounce buffer of %d MiB: 0x%x, the top of the highest RAM"
                    .formatted(bytes >> 20, end - bytes)
                + " below 4 GiB that it fits into");
        return Optional.of(new SwiotlbBuffer(end - bytes, end, true));
      }
    }
    assume(
        "no RAM below 4 GiB has room for a bounce buffer of %d MiB: none is converted"
            .formatted(bytes >> 20));
    return Optional.empty();
  }

  /** What {@code mem_encrypt_setup_arch} asks for: 6 % of RAM within bounds. */
  private long usualBytes() {
    long share = ramBytes / 100 * PERCENT_OF_RAM;
    long clamped = Math.max(MIN_BYTES, Math.min(MAX_BYTES, share));
    long bytes = LongMath.ceilingPowerOfTwo(clamped);
    assume(
        "the log does not tell the bounce buffer's size: %d %% of RAM in [64 MiB, 1 GiB], rounded up to %d MiB"
            .formatted(PERCENT_OF_RAM, bytes >> 20));
    return bytes;
  }

  private void assume(String text) {
    assumptions.add(new Assumption(text));
  }
}
