package dev.septum.lab.bootlog;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** What the lines of one boot say about memory, each with its line. Written by the reader only. */
final class LogFacts {

  /** The bitmap of unaccepted memory: one bit for each unit from {@code base} on. */
  record Unaccepted(long base, long unitSize, LogLine line) {}

  /** {@code BIOS-e820} entries of every type, and whether the line above the first is there. */
  final List<MapEntry> e820 = new ArrayList<>();

  boolean hasE820Head;

  /** {@code efi: memNN} entries of every type, and the lowest NN. */
  final List<MapEntry> efi = new ArrayList<>();

  int firstEfiIndex = Integer.MAX_VALUE;

  /** {@code Early memory node ranges}, and whether that line itself is there. */
  final List<NodeRange> nodeRanges = new ArrayList<>();

  boolean hasNodeRangesHead;

  /** {@code Initmem setup node}: first and last address of each node. */
  final List<NodeRange> nodeSpans = new ArrayList<>();

  /** SRAT memory that is there from the start. */
  final List<MemRange> srat = new ArrayList<>();

  /** {@code Registered nosave memory}: not RAM. */
  final List<MemRange> nosave = new ArrayList<>();

  /** Zones, nodes and whatever else ends where memory ends. */
  final List<MemRange> spans = new ArrayList<>();

  /** {@code last_pfn} values, as addresses. */
  final List<Long> lastAddresses = new ArrayList<>();

  /** What {@code accept_memory} was called for. */
  final List<MemRange> accepts = new ArrayList<>();

  @Nullable Unaccepted unaccepted;

  /** {@code Memory: xK/yK available}: y. */
  OptionalLong totalKib = OptionalLong.empty();

  /** {@code software IO TLB: mapped}. */
  @Nullable MemRange swiotlb;

  /** The last size that the log gives for the bounce buffer, in bytes. */
  OptionalLong swiotlbBytes = OptionalLong.empty();

  /** The line that says that there is no bounce buffer. */
  @Nullable LogLine noSwiotlb;

  OptionalInt vcpus = OptionalInt.empty();

  /** Lines at the very end of the log that break off in the middle of a fact. */
  final List<LogLine> brokenOff = new ArrayList<>();

  /** Whether nothing here tells where RAM is. */
  boolean showNoMemory() {
    return e820.stream().noneMatch(MapEntry::usable)
        && efi.stream().noneMatch(MapEntry::usable)
        && nodeRanges.isEmpty()
        && srat.isEmpty()
        && accepts.isEmpty()
        && spans.isEmpty()
        && lastAddresses.isEmpty();
  }
}
