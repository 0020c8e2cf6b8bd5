package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.Range;
import com.google.common.collect.RangeSet;
import com.google.common.collect.TreeRangeSet;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Joins what the sources say about RAM into one list.
 *
 * <p>The best source speaks first. A worse one is heard only about addresses that no better one
 * covers, and never about a known hole. Memory from 1 MiB up that must exist but that nothing shows
 * is assumed.
 */
final class RamInference {

  private final LogFacts facts;
  private final List<Assumption> assumptions;
  private final List<RamRange> ram = new ArrayList<>();
  private final RangeSet<Long> uncovered = TreeRangeSet.create();
  private final RangeSet<Long> holes = TreeRangeSet.create();

  private RamInference(LogFacts facts, List<Assumption> assumptions) {
    this.facts = facts;
    this.assumptions = assumptions;
    uncovered.add(RamSource.EVERYTHING);
    addHoles(facts.e820);
    addHoles(facts.efi);
    facts.nosave.forEach(range -> holes.add(range.toRange()));
  }

  /** The guest's RAM, ascending; what goes beyond the log is added to {@code assumptions}. */
  static ImmutableList<RamRange> infer(
      LogFacts facts, boolean assumeMemory, List<Assumption> assumptions) throws BootLogException {
    RamInference inference = new RamInference(facts, assumptions);
    MemoryEnds ends = new MemoryEnds(facts, inference.holes);
    for (RamSource source : RamSources.of(facts, ends)) {
      inference.hear(source);
    }
    inference.hear(ends.above(inference.coveredLowEnd()));
    inference.addUnseenLowMemory(ends.lowEnd(), assumeMemory);
    inference.compareWithTotal();
    return inference.ram.stream()
        .sorted(Comparator.comparingLong(RamRange::startGpa))
        .collect(ImmutableList.toImmutableList());
  }

  private void addHoles(List<MapEntry> map) {
    map.stream().filter(e -> !e.usable()).forEach(e -> holes.add(e.range().toRange()));
  }

  private void hear(RamSource source) {
    boolean isFirst = ram.isEmpty();
    RangeSet<Long> open = TreeRangeSet.create(uncovered);
    if (source.kind() != RangeSource.NODE_RANGES) {
      open.removeAll(holes);
    }
    int before = ram.size();
    for (MemRange range : source.ranges()) {
      for (Range<Long> part : open.subRangeSet(range.toRange()).asRanges()) {
        add(part, source.kind(), range.line().number());
      }
    }
    if (ram.size() > before) {
      explain(source.kind(), ram.size() - before, isFirst);
    }
    uncovered.remove(source.covered());
  }

  private void explain(RangeSource kind, int ranges, boolean isFirst) {
    if (!isFirst) {
      assume("better sources are cut: %d RAM ranges are from %s".formatted(ranges, kind));
      return;
    }
    switch (kind) {
      case SRAT -> assume("the SRAT's memory is all RAM: firmware's own parts are not told apart");
      case PARTIAL_NODE_RANGES -> assume("the kernel's list of RAM is cut in the log");
      case ACCEPTED -> assume("RAM ends where the accept_memory calls end");
      case MEMORY_ENDS -> assume("RAM goes on from 4 GiB to the end of memory without a hole");
      default -> {}
    }
  }

  private void add(Range<Long> part, RangeSource kind, int line) {
    long start = (part.lowerEndpoint() + MemRange.PAGE - 1) & -MemRange.PAGE;
    long end = part.upperEndpoint() & -MemRange.PAGE;
    if (start < end) {
      ram.add(new RamRange(start, end, kind, kind == RangeSource.ASSUMED, line));
    }
  }

  /** Where what the sources cover between 1 MiB and 4 GiB ends; 0 if they cover nothing there. */
  private long coveredLowEnd() {
    Range<Long> low = Range.closedOpen(MemoryEnds.SIZE_1M, MemoryEnds.SIZE_4G);
    return uncovered.complement().subRangeSet(low).asRanges().stream()
        .mapToLong(Range::upperEndpoint)
        .max()
        .orElse(0);
  }

  /** The low memory of a map without any, or of one that is cut at its head. */
  private void addUnseenLowMemory(long lowEnd, boolean assumeMemory) {
    boolean isComplete = ram.stream().anyMatch(r -> r.source() == RangeSource.NODE_RANGES);
    boolean showsLowRam = ram.stream().anyMatch(RamInference::isLow);
    boolean isCutAtHead = uncovered.contains(MemoryEnds.SIZE_1M);
    if (isComplete || (showsLowRam && !isCutAtHead)) {
      return;
    }
    RangeSet<Long> unseen = TreeRangeSet.create();
    if (showsLowRam) {
      unseen.add(Range.closedOpen(MemoryEnds.SIZE_1M, firstLowRam()));
      unseen.removeAll(uncovered.complement());
    } else if (lowEnd > MemoryEnds.SIZE_1M) {
      unseen.add(Range.closedOpen(MemoryEnds.SIZE_1M, lowEnd));
    }
    unseen.removeAll(holes);
    if (unseen.isEmpty()) {
      return;
    }
    String memory = "RAM from 1 MiB to 0x%x".formatted(unseen.span().upperEndpoint());
    if (assumeMemory) {
      assume(
          memory
              + (showsLowRam
                  ? ": the map is cut at its head"
                  : ": a guest has RAM there, and the log shows none"));
      unseen.asRanges().forEach(part -> add(part, RangeSource.ASSUMED, 0));
    } else {
      assume(memory + " is left out: the log does not show it");
    }
  }

  private static boolean isLow(RamRange range) {
    return range.startGpa() < MemoryEnds.SIZE_4G && range.endGpa() > MemoryEnds.SIZE_1M;
  }

  private long firstLowRam() {
    return ram.stream()
        .filter(RamInference::isLow)
        .mapToLong(r -> Math.max(r.startGpa(), MemoryEnds.SIZE_1M))
        .min()
        .orElse(MemoryEnds.SIZE_1M);
  }

  private void compareWithTotal() {
    long kib = ram.stream().mapToLong(RamRange::bytes).sum() >> 10;
    long totalKib = facts.totalKib.orElse(kib);
    if (kib != totalKib) {
      assume("the map of %d KiB is right, not the log's total of %d".formatted(kib, totalKib));
    }
  }

  private void assume(String text) {
    assumptions.add(new Assumption(text));
  }
}
