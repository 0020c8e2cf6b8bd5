package dev.septum.lab.pamt;

import dev.septum.lab.bootlog.LogLine;
import dev.septum.lab.bootlog.MapEntry;
import dev.septum.lab.bootlog.MemRange;
import dev.septum.lab.bootlog.NodeRange;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What the lines of one boot say about a TDX host. Written by the reader only. */
final class HostFacts {

  /** A number that a line prints. */
  record Printed(long value, LogLine line) {}

  /** Convertible memory ranges, as the module reports them. */
  final List<MemRange> cmrs = new ArrayList<>();

  /** {@code BIOS-e820} entries of every type. */
  final List<MapEntry> e820 = new ArrayList<>();

  /** {@code Early memory node ranges}. */
  final List<NodeRange> nodeRanges = new ArrayList<>();

  /** Which node has which addresses, by the firmware's affinity table. */
  final List<NodeRange> affinity = new ArrayList<>();

  /** KiB of PAMT. */
  @Nullable Printed pamtKib;

  /** Private KeyIDs, start (included) and end (excluded). */
  @Nullable String keyIds;

  /** The module's version in the words of the log. */
  @Nullable String module;

  @Nullable LogLine initialized;

  /** The errno that initialization failed with. */
  @Nullable Printed failed;

  /** The TDMR whose reserved areas ran out. */
  @Nullable MemRange exhausted;

  /** The first SEAMCALL that failed: its status, decoded. */
  @Nullable String seamcallError;

  /** The first line that only a TDX host prints. */
  @Nullable LogLine sign;

  /** Whether the kernel told how initialization ended. */
  boolean hasOutcome() {
    return pamtKib != null || initialized != null || failed != null;
  }

  /** Whether anything here tells where memory is. */
  boolean showMemory() {
    return !cmrs.isEmpty() || !nodeRanges.isEmpty() || e820.stream().anyMatch(MapEntry::usable);
  }
}
