package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import dev.septum.lab.bootlog.LogFacts.MapEntry;
import dev.septum.lab.bootlog.LogFacts.NodeRange;
import dev.septum.lab.bootlog.LogFacts.Unaccepted;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads facts from the lines of one boot.
 *
 * <p>A fact is found anywhere in a line, so that it does not matter what a logger puts in front. A
 * line that starts like a fact but does not go on like one is an error.
 */
final class FactReader {

  /** First and last address inside the brackets of {@code [mem …]}. */
  private static final String ENDS = "mem ([^\\s\\]-]+)\\s*-\\s*([^\\s\\])]+)";

  private static final ImmutableSet<String> E820_RAM =
      ImmutableSet.of("usable", "System RAM", "kernel usable RAM");

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

  private interface Fact {
    void add(LogLine line, Matcher form) throws BootLogException;
  }

  /** Lines with {@code marker} must have {@code form}, and then are the fact. */
  private record Rule(Pattern marker, Pattern form, Fact fact) {}

  private final LogFacts facts = new LogFacts();
  private final ImmutableList<Rule> rules;
  private int vcpuRank = Integer.MAX_VALUE;

  private FactReader() {
    String mem = "\\[" + ENDS + "\\]";
    rules =
        ImmutableList.of(
            rule("BIOS-provided physical RAM map", "", (l, m) -> facts.hasE820Head = true),
            rule("BIOS-e820: (?!\\[gap )", mem + "\\s*(.*)", this::e820),
            rule(
                "efi: mem\\d+: ",
                "efi: mem(\\d+): \\[([^|\\]]*).*range=\\[([^\\s-]+)-([^\\s\\])]+)([\\])])",
                this::efi),
            rule("Early memory node ranges", "", (l, m) -> facts.hasNodeRangesHead = true),
            rule("\\bnode +\\d+: \\[mem", "node +(\\d+): " + mem, this::nodeRange),
            rule("Initmem setup node \\d+ \\[mem", "node (\\d+) " + mem, this::nodeSpan),
            rule("SRAT: Node \\d+ PXM \\d+ \\[mem", mem + "(.*)", this::srat),
            rule(
                "Registered nosave memory: ",
                mem,
                (l, m) -> facts.nosave.add(inclusive(l, m.group(1), m.group(2)))),
            rule("\\b(?:DMA|DMA32|Normal) +\\[mem", mem, this::span),
            rule("Faking a node at \\[mem", mem, this::span),
            rule("NUMA: Node \\d+ \\[mem", ".*" + mem, this::span),
            rule("last_pfn = ", "last_pfn = (\\S+)", this::lastPfn),
            rule("Memory: \\d+[kK]/", "/(\\d+)[kK]", this::total),
            rule(
                "accept_memory\\(start=",
                "accept_memory\\(start=([^\\s,]+),?\\s+size=([^\\s)]+)\\)",
                this::accept),
            rule("unaccepted: version=", "unit_size=(\\S+)\\s+phys_base=(\\S+)", this::unaccepted),
            rule(
                "software IO TLB:? (?:mapped )?\\[mem",
                "software IO TLB:? (mapped )?" + mem + "\\s*\\((\\d{1,9})MB\\)",
                this::swiotlb),
            rule(
                "SWIOTLB bounce buffer size ",
                "size (?:roundup|adjusted) to (\\d{1,9})MB",
                (l, m) -> facts.swiotlbBytes = OptionalLong.of(Long.parseLong(m.group(1)) << 20)),
            rule(
                "[Cc]ommand line: .*\\bswiotlb=\\d", "\\bswiotlb=(\\d{1,12})", this::swiotlbOption),
            rule(
                "software IO TLB: (?:No low mem|Cannot allocate|SWIOTLB disabled|disabled)",
                "",
                (l, m) -> facts.noSwiotlb = l),
            rule("Brought up \\d+ nodes?, ", "nodes?, (\\d{1,6}) CPUs?", vcpus(0)),
            rule("Allowing \\d+ (?:present )?CPUs", "Allowing (\\d{1,6})", vcpus(1)),
            rule("nr_cpu_ids[:=]\\d", "nr_cpu_ids[:=](\\d{1,6})", vcpus(2)));
  }

  /** The facts in the lines of one boot. */
  static LogFacts read(List<LogLine> lines) throws BootLogException {
    FactReader reader = new FactReader();
    for (int i = 0; i < lines.size(); i++) {
      reader.read(lines.get(i), i == lines.size() - 1);
    }
    return reader.facts;
  }

  private void read(LogLine line, boolean isLast) throws BootLogException {
    for (Rule rule : rules) {
      Matcher marker = rule.marker.matcher(line.text());
      if (!marker.find()) {
        continue;
      }
      Matcher form = rule.form.matcher(line.text()).region(marker.start(), line.text().length());
      if (form.find()) {
        rule.fact.add(line, form);
      } else if (isLast) {
        facts.brokenOff.add(line);
      } else {
        throw line.error("not the form that the kernel prints");
      }
    }
  }

  private void e820(LogLine line, Matcher form) throws BootLogException {
    // Newer kernels print the size before the type.
    String type = form.group(3).replaceFirst("^[\\d.]+\\s*[KMGTP]?B\\s+", "").strip();
    if (type.isEmpty()) {
      throw line.error("no type after the range");
    }
    boolean usable = E820_RAM.contains(type);
    MemRange range = inclusive(line, form.group(1), form.group(2));
    facts.e820.add(new MapEntry(usable ? range.wholePages() : range, usable));
  }

  private void efi(LogLine line, Matcher form) throws BootLogException {
    boolean usable = EFI_RAM.contains(form.group(2).strip());
    boolean endIsIncluded = form.group(5).equals("]");
    MemRange range =
        endIsIncluded
            ? inclusive(line, form.group(3), form.group(4))
            : exclusive(line, form.group(3), form.group(4));
    facts.efi.add(new MapEntry(usable ? range.wholePages() : range, usable));
    facts.firstEfiIndex =
        (int) Math.min(facts.firstEfiIndex, number(line, form.group(1), 10, Integer.MAX_VALUE));
  }

  private void nodeRange(LogLine line, Matcher form) throws BootLogException {
    MemRange range = inclusive(line, form.group(2), form.group(3)).wholePages();
    facts.nodeRanges.add(new NodeRange(node(line, form), range));
  }

  private void nodeSpan(LogLine line, Matcher form) throws BootLogException {
    MemRange range = inclusive(line, form.group(2), form.group(3));
    facts.nodeSpans.add(new NodeRange(node(line, form), range));
    facts.spans.add(range);
  }

  private void srat(LogLine line, Matcher form) throws BootLogException {
    MemRange range = inclusive(line, form.group(1), form.group(2));
    if (!form.group(3).contains("hotplug") && !form.group(3).contains("non-volatile")) {
      facts.srat.add(range.wholePages());
    }
  }

  private void span(LogLine line, Matcher form) throws BootLogException {
    facts.spans.add(inclusive(line, form.group(1), form.group(2)));
  }

  private void lastPfn(LogLine line, Matcher form) throws BootLogException {
    facts.lastAddresses.add(
        hex(line, form.group(1), MemRange.MAX_GPA / MemRange.PAGE) * MemRange.PAGE);
  }

  private void total(LogLine line, Matcher form) throws BootLogException {
    facts.totalKib = OptionalLong.of(number(line, form.group(1), 10, MemRange.MAX_GPA >> 10));
  }

  private void accept(LogLine line, Matcher form) throws BootLogException {
    long start = hex(line, form.group(1), MemRange.MAX_GPA);
    long size = hex(line, form.group(2), MemRange.MAX_GPA);
    MemRange range = checked(line, start, start + size);
    facts.accepts.add(range);
  }

  private void unaccepted(LogLine line, Matcher form) throws BootLogException {
    long unit = number(line, form.group(1), 10, 1L << 40);
    long base = hex(line, form.group(2), MemRange.MAX_GPA);
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
            ? inclusive(line, form.group(2), form.group(3))
            : exclusive(line, form.group(2), form.group(3));
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
  private Fact vcpus(int rank) {
    return (line, form) -> {
      int count = Integer.parseInt(form.group(1));
      if (rank < vcpuRank && count > 0) {
        vcpuRank = rank;
        facts.vcpus = OptionalInt.of(count);
      }
    };
  }

  private static int node(LogLine line, Matcher form) throws BootLogException {
    return (int) number(line, form.group(1), 10, Integer.MAX_VALUE);
  }

  private static MemRange inclusive(LogLine line, String first, String last)
      throws BootLogException {
    long start = hex(line, first, MemRange.MAX_GPA - 1);
    long end = hex(line, last, MemRange.MAX_GPA - 1) + 1;
    return checked(line, start, end);
  }

  private static MemRange exclusive(LogLine line, String first, String end)
      throws BootLogException {
    return checked(line, hex(line, first, MemRange.MAX_GPA), hex(line, end, MemRange.MAX_GPA));
  }

  private static MemRange checked(LogLine line, long start, long end) throws BootLogException {
    if (end <= start) {
      throw line.error("end 0x%x is not after start 0x%x".formatted(end, start));
    }
    if (end > MemRange.MAX_GPA) {
      throw line.error("end 0x%x is beyond 52 bits of guest physical address".formatted(end));
    }
    return new MemRange(start, end, line);
  }

  private static long hex(LogLine line, String text, long max) throws BootLogException {
    boolean hasPrefix = text.startsWith("0x") || text.startsWith("0X");
    return number(line, hasPrefix ? text.substring(2) : text, 16, max);
  }

  private static long number(LogLine line, String digits, int radix, long max)
      throws BootLogException {
    boolean isHex = radix == 16;
    if (!digits.matches(isHex ? "[0-9a-fA-F]+" : "[0-9]+")) {
      throw line.error(
          "\"%s\" is not a %s number".formatted(digits, isHex ? "hexadecimal" : "decimal"));
    }
    try {
      long value = Long.parseLong(digits, radix);
      if (value <= max) {
        return value;
      }
    } catch (NumberFormatException e) {
      // Larger than a long: too large as well.
    }
    throw line.error("%s%s is too large".formatted(isHex ? "0x" : "", digits));
  }

  private static Rule rule(String marker, String form, Fact fact) {
    return new Rule(Pattern.compile(marker), Pattern.compile(form), fact);
  }
}
