package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableSet;
import dev.septum.lab.bootlog.LogFacts.Unaccepted;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.regex.Matcher;

/**
 * Reads facts from the lines of one boot.
 *
 * <p>A fact is found anywhere in a line, so that it does not matter what a logger puts in front. A
 * line that starts like a fact but does not go on like one is an error.
 */
final class FactReader {

  /** What the kernel hands out after the firmware is gone. */
  private static final ImmutableSet<String> EFI_RAM =
      ImmutableSet.of(
          "Conventional Memory",
          "Conventional",
          "Loader Code",
          "Loader Data",
          "Boot Code",
          "Boot Data",
          "Unaccepted");

  /** IO_TLB_SIZE: the unit of the {@code swiotlb=} parameter. */
  private static final long SWIOTLB_SLAB = 2048;

  private final LogFacts facts = new LogFacts();
  private final LineRules rules = new LineRules();
  private int vcpuRank = Integer.MAX_VALUE;

  private FactReader() {
    String mem = MemRange.FORM;
    new MemoryMapLines(facts.e820, facts.nodeRanges).addTo(rules);
    rules
        .rule("BIOS-provided physical RAM map", "", (l, m) -> facts.hasE820Head = true)
        .rule(
            "efi: mem\\d+: ",
            "efi: mem(\\d+): \\[([^|\\]]*).*range=\\[([^\\s-]+)-([^\\s\\])]+)([\\])])",
            this::efi)
        .rule("Early memory node ranges", "", (l, m) -> facts.hasNodeRangesHead = true)
        .rule("Initmem setup node \\d+ \\[mem", "node (\\d+) " + mem, this::nodeSpan)
        .rule("SRAT: Node \\d+ PXM \\d+ \\[mem", mem + "(.*)", this::srat)
        .rule(
            "Registered nosave memory: ",
            mem,
            (l, m) -> facts.nosave.add(MemRange.inclusive(l, m.group(1), m.group(2))))
        .rule("\\b(?:DMA|DMA32|Normal) +\\[mem", mem, this::span)
        .rule("Faking a node at \\[mem", mem, this::span)
        .rule("NUMA: Node \\d+ \\[mem", ".*" + mem, this::span)
        .rule("last_pfn = ", "last_pfn = (\\S+)", this::lastPfn)
        .rule("Memory: \\d+[kK]/", "/(\\d+)[kK]", this::total)
        .rule(
            "accept_memory\\(start=",
            "accept_memory\\(start=([^\\s,]+),?\\s+size=([^\\s)]+)\\)",
            this::accept)
        .rule("unaccepted: version=", "unit_size=(\\S+)\\s+phys_base=(\\S+)", this::unaccepted)
        .rule(
            "software IO TLB:? (?:mapped )?\\[mem",
            "software IO TLB:? (mapped )?" + mem + "\\s*\\((\\d{1,9})MB\\)",
            this::swiotlb)
        .rule(
            "SWIOTLB bounce buffer size ",
            "size (?:roundup|adjusted) to (\\d{1,9})MB",
            (l, m) -> facts.swiotlbBytes = OptionalLong.of(Long.parseLong(m.group(1)) << 20))
        .rule("[Cc]ommand line: .*\\bswiotlb=\\d", "\\bswiotlb=(\\d{1,12})", this::swiotlbOption)
        .rule(
            "software IO TLB: (?:No low mem|Cannot allocate|SWIOTLB disabled|disabled)",
            "",
            (l, m) -> facts.noSwiotlb = l)
        .rule("Brought up \\d+ nodes?, ", "nodes?, (\\d{1,6}) CPUs?", vcpus(0))
        .rule("Allowing \\d+ (?:present )?CPUs", "Allowing (\\d{1,6})", vcpus(1))
        .rule("nr_cpu_ids[:=]\\d", "nr_cpu_ids[:=](\\d{1,6})", vcpus(2));
  }

  /** The facts in the lines of one boot. */
  static LogFacts read(List<LogLine> lines) throws BootLogException {
    FactReader reader = new FactReader();
    reader.facts.brokenOff.addAll(reader.rules.read(lines));
    return reader.facts;
  }

  private void efi(LogLine line, Matcher form) throws BootLogException {
    boolean usable = EFI_RAM.contains(form.group(2).strip());
    boolean endIsIncluded = form.group(5).equals("]");
    MemRange range =
        endIsIncluded
            ? MemRange.inclusive(line, form.group(3), form.group(4))
            : MemRange.exclusive(line, form.group(3), form.group(4));
    facts.efi.add(new MapEntry(usable ? range.wholePages() : range, usable));
    facts.firstEfiIndex =
        (int) Math.min(facts.firstEfiIndex, line.decimal(form.group(1), Integer.MAX_VALUE));
  }

  private void nodeSpan(LogLine line, Matcher form) throws BootLogException {
    MemRange range = MemRange.inclusive(line, form.group(2), form.group(3));
    facts.nodeSpans.add(new NodeRange(MemoryMapLines.node(line, form), range));
    facts.spans.add(range);
  }

  private void srat(LogLine line, Matcher form) throws BootLogException {
    MemRange range = MemRange.inclusive(line, form.group(1), form.group(2));
    if (!form.group(3).contains("hotplug") && !form.group(3).contains("non-volatile")) {
      facts.srat.add(range.wholePages());
    }
  }

  private void span(LogLine line, Matcher form) throws BootLogException {
    facts.spans.add(MemRange.inclusive(line, form.group(1), form.group(2)));
  }

  private void lastPfn(LogLine line, Matcher form) throws BootLogException {
    facts.lastAddresses.add(
        line.hex(form.group(1), MemRange.MAX_GPA / MemRange.PAGE) * MemRange.PAGE);
  }

  private void total(LogLine line, Matcher form) throws BootLogException {
    facts.totalKib = OptionalLong.of(line.decimal(form.group(1), MemRange.MAX_GPA >> 10));
  }

  private void accept(LogLine line, Matcher form) throws BootLogException {
    long start = line.hex(form.group(1), MemRange.MAX_GPA);
    long size = line.hex(form.group(2), MemRange.MAX_GPA);
    MemRange range = MemRange.checked(line, start, start + size);
    facts.accepts.add(range);
  }

  private void unaccepted(LogLine line, Matcher form) throws BootLogException {
    long unit = line.decimal(form.group(1), 1L << 40);
    long base = line.hex(form.group(2), MemRange.MAX_GPA);
    if (Long.bitCount(unit) != 1 || unit < MemRange.PAGE || base % unit != 0) {
      throw line.error(
          "unit size %d is no power of two of at least a page that divides base 0x%x"
              .formatted(unit, base));
    }
    Unaccepted known = facts.unaccepted;
    if (known != null && (known.base() != base || known.unitSize() != unit)) {
      throw line.error(
          "base 0x%x, unit %d contradict base 0x%x, unit %d of line %d"
              .formatted(base, unit, known.base(), known.unitSize(), known.line().number()));
    }
    facts.unaccepted = known == null ? new Unaccepted(base, unit, line) : known;
  }

  private void swiotlb(LogLine line, Matcher form) throws BootLogException {
    // "mapped [mem a-b]" has the first byte after the buffer as b; kernels before 4.20 put the
    // last byte there and "mapped" behind.
    boolean endIsIncluded = form.group(1) == null;
    MemRange range =
        endIsIncluded
            ? MemRange.inclusive(line, form.group(2), form.group(3))
            : MemRange.exclusive(line, form.group(2), form.group(3));
    if ((range.end() - range.start()) >> 20 != Long.parseLong(form.group(4))) {
      throw line.error("range %s is not of %s MiB".formatted(range, form.group(4)));
    }
    MemRange known = facts.swiotlb;
    if (known != null && (known.start() != range.start() || known.end() != range.end())) {
      throw line.error(
          "bounce buffer %s contradicts %s of line %d: one guest has one"
              .formatted(range, known, known.line().number()));
    }
    facts.swiotlb = known == null ? range.wholePages() : known;
  }

  private void swiotlbOption(LogLine line, Matcher form) {
    if (facts.swiotlbBytes.isEmpty()) {
      facts.swiotlbBytes = OptionalLong.of(Long.parseLong(form.group(1)) * SWIOTLB_SLAB);
    }
  }

  /** A line with a lower rank says better how many vCPUs there are. */
  private LineRules.Fact vcpus(int rank) {
    return (line, form) -> {
      int count = Integer.parseInt(form.group(1));
      if (rank < vcpuRank && count > 0) {
        vcpuRank = rank;
        facts.vcpus = OptionalInt.of(count);
      }
    };
  }
}
