package dev.septum.lab.pamt;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.MapEntry;
import dev.septum.lab.bootlog.MemRange;
import dev.septum.lab.bootlog.NodeRange;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * The memory that a host's kernel makes TDMRs of, in order: one block for each range of RAM of one
 * node, without the first MiB ({@code build_tdx_memlist}).
 *
 * @param source where the blocks come from, for reports
 */
record MemoryBlocks(String source, ImmutableList<MemRange> blocks) {

  private static final long FIRST_MIB = 1L << 20;

  /** Every CMR is a block. */
  static Optional<MemoryBlocks> ofCmrs(HostFacts facts) throws BootLogException {
    ImmutableList<MemRange> cmrs = MemRange.inOrder(facts.cmrs);
    return cmrs.isEmpty()
        ? Optional.empty()
        : Optional.of(new MemoryBlocks("the CMRs", aboveFirstMib(split(cmrs, facts))));
  }

  /** The kernel's own map as far as the log shows it, and the CMRs before and behind. */
  static Optional<MemoryBlocks> ofMap(HostFacts facts) throws BootLogException {
    return facts.nodeRanges.isEmpty() ? ofE820(facts) : ofNodeRanges(facts);
  }

  private static Optional<MemoryBlocks> ofNodeRanges(HostFacts facts) throws BootLogException {
    List<MemRange> ranges = facts.nodeRanges.stream().map(NodeRange::range).toList();
    ImmutableList<MemRange> ram = MemRange.inOrder(ranges);
    return Optional.of(
        new MemoryBlocks("node ranges", aboveFirstMib(withCmrsAround(ram, ranges, facts))));
  }

  private static Optional<MemoryBlocks> ofE820(HostFacts facts) throws BootLogException {
    List<MemRange> all = facts.e820.stream().map(MapEntry::range).toList();
    List<MemRange> usable =
        facts.e820.stream().filter(MapEntry::usable).map(MapEntry::range).toList();
    if (usable.isEmpty()) {
      return Optional.empty();
    }
    ImmutableList<MemRange> blocks =
        MemRange.joined(withCmrsAround(MemRange.inOrder(usable), all, facts));
    return Optional.of(new MemoryBlocks("BIOS-e820", aboveFirstMib(split(blocks, facts))));
  }

  /** Adds the parts of CMRs that lie outside of what {@code covered} tells about. */
  private static ImmutableList<MemRange> withCmrsAround(
      List<MemRange> ram, List<MemRange> covered, HostFacts facts) throws BootLogException {
    long from = covered.stream().mapToLong(MemRange::start).min().orElseThrow();
    long to = covered.stream().mapToLong(MemRange::end).max().orElseThrow();
    List<MemRange> blocks = new ArrayList<>(ram);
    for (MemRange cmr : MemRange.inOrder(facts.cmrs)) {
      // Firmware maps begin at 0: one that begins within the first MiB is not cut there.
      addPart(blocks, cmr, cmr.start(), Math.min(cmr.end(), from < FIRST_MIB ? 0 : from));
      addPart(blocks, cmr, Math.max(cmr.start(), to), cmr.end());
    }
    blocks.sort(Comparator.comparingLong(MemRange::start));
    return ImmutableList.copyOf(blocks);
  }

  /** Cuts blocks where one node's memory ends and another's starts. */
  private static ImmutableList<MemRange> split(List<MemRange> blocks, HostFacts facts) {
    List<MemRange> parts = new ArrayList<>(blocks);
    for (NodeRange node : facts.affinity) {
      for (MemRange part : ImmutableList.copyOf(parts)) {
        long at = node.range().start();
        if (at > part.start() && at < part.end() && isOtherNode(at - 1, node.node(), facts)) {
          parts.remove(part);
          addPart(parts, part, part.start(), at);
          addPart(parts, part, at, part.end());
        }
      }
    }
    parts.sort(Comparator.comparingLong(MemRange::start));
    return ImmutableList.copyOf(parts);
  }

  private static boolean isOtherNode(long address, int node, HostFacts facts) {
    return facts.affinity.stream()
        .anyMatch(
            other ->
                other.node() != node
                    && other.range().start() <= address
                    && address < other.range().end());
  }

  private static ImmutableList<MemRange> aboveFirstMib(List<MemRange> blocks) {
    List<MemRange> above = new ArrayList<>();
    blocks.forEach(b -> addPart(above, b, Math.max(b.start(), FIRST_MIB), b.end()));
    return ImmutableList.copyOf(above);
  }

  private static void addPart(List<MemRange> parts, MemRange whole, long start, long end) {
    if (start < end) {
      parts.add(new MemRange(start, end, whole.line()));
    }
  }
}
