package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableSet;
import java.util.List;
import java.util.regex.Matcher;

/** The lines in which a kernel lists memory range by range: BIOS-e820 and its own node ranges. */
public final class MemoryMapLines {

  private static final ImmutableSet<String> E820_RAM =
      ImmutableSet.of("usable", "System RAM", "kernel usable RAM");

  private final List<MapEntry> e820;
  private final List<NodeRange> nodeRanges;

  /** Entries of every type go to {@code e820}, RAM of {@code node N:} lines to the other. */
  public MemoryMapLines(List<MapEntry> e820, List<NodeRange> nodeRanges) {
    this.e820 = e820;
    this.nodeRanges = nodeRanges;
  }

  /** Adds the rules for these lines. */
  public void addTo(LineRules rules) {
    rules
        .rule("BIOS-e820: (?!\\[gap )", MemRange.FORM + "\\s*(.*)", this::e820)
        .rule("\\bnode +\\d+: \\[mem", "node +(\\d+): " + MemRange.FORM, this::nodeRange);
  }

  private void e820(LogLine line, Matcher form) throws BootLogException {
    // Newer kernels print the size before the type.
    String type = form.group(3).replaceFirst("^[\\d.]+\\s*[KMGTP]?B\\s+", "").strip();
    if (type.isEmpty()) {
      throw line.error("no type after the range");
    }
    boolean usable = E820_RAM.contains(type);
    MemRange range = MemRange.inclusive(line, form.group(1), form.group(2));
    e820.add(new MapEntry(usable ? range.wholePages() : range, usable));
  }

  private void nodeRange(LogLine line, Matcher form) throws BootLogException {
    MemRange range = MemRange.inclusive(line, form.group(2), form.group(3)).wholePages();
    nodeRanges.add(new NodeRange(node(line, form), range));
  }

  /** The node in group 1. */
  public static int node(LogLine line, Matcher form) throws BootLogException {
    return (int) line.decimal(form.group(1), Integer.MAX_VALUE);
  }
}
