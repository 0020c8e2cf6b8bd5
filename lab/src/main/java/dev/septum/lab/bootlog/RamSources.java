package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.LogFacts.Unaccepted;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/** The sources of RAM that a log has, each checked against itself. */
final class RamSources {

  private final LogFacts facts;
  private final MemoryEnds ends;

  private RamSources(LogFacts facts, MemoryEnds ends) {
    this.facts = facts;
    this.ends = ends;
  }

  /** Every source with at least one range, best first. */
  static ImmutableList<RamSource> of(LogFacts facts, MemoryEnds ends) throws BootLogException {
    RamSources sources = new RamSources(facts, ends);
    List<RamSource> all = new ArrayList<>();
    all.add(sources.nodeRanges());
    all.add(sources.e820());
    all.add(sources.efi());
    all.add(RamSource.of(RangeSource.SRAT, MemRange.inOrder(facts.srat)));
    all.add(sources.accepted());
    all.sort(Comparator.comparing(RamSource::kind));
    return all.stream().filter(s -> !s.ranges().isEmpty()).collect(ImmutableList.toImmutableList());
  }

  /**
   * The kernel's list: complete if it has its first and its last line and none is missing between,
   * or if it adds up to the log's own total.
   */
  private RamSource nodeRanges() throws BootLogException {
    ImmutableList<MemRange> ranges = MemRange.inOrder(ranges(facts.nodeRanges));
    boolean hasHead = facts.hasNodeRangesHead;
    boolean hasTail = !facts.nodeSpans.isEmpty();
    for (NodeRange span : facts.nodeSpans) {
      List<MemRange> ofNode = ofNode(ranges, span.node());
      hasHead |= !ofNode.isEmpty() && ofNode.get(0).start() == span.range().start();
      hasTail &= endsWith(ofNode, span);
    }
    long kib = ranges.stream().mapToLong(r -> r.end() - r.start()).sum() >> 10;
    long totalKib = facts.totalKib.orElse(0);
    if (kib == totalKib || (hasHead && hasTail && kib > totalKib)) {
      return RamSource.of(RangeSource.NODE_RANGES, ranges, 0, MemRange.MAX_GPA);
    }
    return RamSource.of(
        RangeSource.PARTIAL_NODE_RANGES,
        ranges,
        hasHead ? 0 : firstStart(ranges),
        hasTail ? MemRange.MAX_GPA : lastEnd(ranges));
  }

  /** Whether a node's ranges end where the node does; ranges beyond that are an error. */
  private static boolean endsWith(List<MemRange> ofNode, NodeRange span) throws BootLogException {
    long end = span.range().end();
    for (MemRange range : ofNode) {
      if (range.end() > end) {
        throw range
            .line()
            .error(
                "range %s is beyond node %d, which ends at 0x%x by line %d"
                    .formatted(range, span.node(), end, span.range().line().number()));
      }
    }
    return lastEnd(ofNode) == end;
  }

  private List<MemRange> ofNode(List<MemRange> inOrder, int node) {
    List<MemRange> ofNode =
        ranges(facts.nodeRanges.stream().filter(r -> r.node() == node).toList());
    return inOrder.stream().filter(ofNode::contains).toList();
  }

  /** The firmware's map: its tail is there if its RAM ends at the last pfn. */
  private RamSource e820() throws BootLogException {
    List<MemRange> all = MemRange.inOrder(facts.e820.stream().map(MapEntry::range).toList());
    List<MemRange> usable = MemRange.inOrder(usable(facts.e820));
    boolean hasHead = facts.hasE820Head || firstStart(all) == 0;
    long lastPfn = facts.lastAddresses.stream().mapToLong(Long::longValue).max().orElse(-1);
    boolean hasTail = lastPfn == lastEnd(usable);
    return RamSource.of(
        RangeSource.E820,
        usable,
        hasHead ? 0 : firstStart(all),
        hasTail ? MemRange.MAX_GPA : lastEnd(all));
  }

  private RamSource efi() throws BootLogException {
    List<MemRange> all = MemRange.inOrder(facts.efi.stream().map(MapEntry::range).toList());
    return RamSource.of(
        RangeSource.EFI,
        MemRange.joined(MemRange.inOrder(usable(facts.efi))),
        facts.firstEfiIndex == 0 ? 0 : firstStart(all),
        lastEnd(all));
  }

  private RamSource accepted() {
    Unaccepted bitmap = facts.unaccepted;
    return RamSource.of(RangeSource.ACCEPTED, bitmap == null ? acceptedPages() : region(bitmap));
  }

  /**
   * From the bitmap's base to the end of what was accepted, in whole units: the bitmap itself may
   * go on where there is no RAM.
   */
  private List<MemRange> region(Unaccepted bitmap) {
    Optional<MemRange> last =
        facts.accepts.stream()
            .filter(a -> a.end() > bitmap.base())
            .max(Comparator.comparingLong(MemRange::end));
    if (last.isEmpty()) {
      return List.of();
    }
    long end = (last.get().end() + bitmap.unitSize() - 1) & -bitmap.unitSize();
    long lowEnd = ends.lowEnd();
    return bitmap.base() < lowEnd && end > MemoryEnds.SIZE_4G
        ? List.of(
            new MemRange(bitmap.base(), lowEnd, bitmap.line()),
            new MemRange(MemoryEnds.SIZE_4G, end, bitmap.line()))
        : List.of(new MemRange(bitmap.base(), end, bitmap.line()));
  }

  private List<MemRange> acceptedPages() {
    List<MemRange> out = new ArrayList<>();
    List<MemRange> accepts = new ArrayList<>(facts.accepts);
    accepts.sort(Comparator.comparingLong(MemRange::start));
    for (MemRange accept : accepts) {
      long start = accept.start() & -MemRange.PAGE;
      long end = (accept.end() + MemRange.PAGE - 1) & -MemRange.PAGE;
      if (start <= lastEnd(out) && !out.isEmpty()) {
        MemRange last = out.remove(out.size() - 1);
        out.add(new MemRange(last.start(), Math.max(end, last.end()), last.line()));
      } else {
        out.add(new MemRange(start, end, accept.line()));
      }
    }
    return out;
  }

  private static List<MemRange> usable(List<MapEntry> entries) {
    return entries.stream().filter(MapEntry::usable).map(MapEntry::range).toList();
  }

  private static List<MemRange> ranges(List<NodeRange> nodes) {
    return nodes.stream().map(NodeRange::range).toList();
  }

  private static long firstStart(List<MemRange> inOrder) {
    return inOrder.isEmpty() ? 0 : inOrder.get(0).start();
  }

  private static long lastEnd(List<MemRange> inOrder) {
    return inOrder.isEmpty() ? 0 : inOrder.get(inOrder.size() - 1).end();
  }
}
