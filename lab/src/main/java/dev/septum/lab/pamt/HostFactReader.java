package dev.septum.lab.pamt;

import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.bootlog.LineRules;
import dev.septum.lab.bootlog.LogLine;
import dev.septum.lab.bootlog.MemRange;
import dev.septum.lab.bootlog.MemoryMapLines;
import dev.septum.lab.bootlog.NodeRange;
import dev.septum.lab.pamt.HostFacts.Printed;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import java.util.List;
import java.util.regex.Matcher;

/** Reads what the kernel prints of the TDX module and of memory, from the lines of one boot. */
final class HostFactReader {

  private static final long MAX_PAMT_KIB = 1L << 42;
  private static final long PAGE_KIB = 4;

  private final HostFacts facts = new HostFacts();
  private final LineRules rules = new LineRules();

  private HostFactReader() {
    new MemoryMapLines(facts.e820, facts.nodeRanges).addTo(rules);
    rules
        .rule("SRAT: Node \\d+ PXM \\d+ \\[mem", "Node (\\d+).*?" + MemRange.FORM, this::affinity)
        .rule(
            "\\bCMR: *\\[", "CMR: *\\[(?:mem )?([^\\s,\\])]+)\\s*,\\s*([^\\s\\])]+)\\)", this::cmr)
        .rule(
            "(?:\\S+ ){0,2}allocated for PAMT",
            "(?<![\\w.-])(\\d{1,18}) (KBs?|kB|KiB|pages) allocated for PAMT",
            this::pamt)
        .rule("private KeyID range ", "range (\\[\\d+, ?\\d+\\))", this::keyIds)
        .rule("tdx: (?:TDX )?module initialized", "", this::initialized)
        .rule("module initialization failed", "failed \\(-?(\\d{1,4})\\)", this::failed)
        .rule(
            "TDMR \\[.*reserved areas exhausted",
            "TDMR \\[([^\\s,]+), *([^\\s)]+)\\)",
            this::exhausted)
        .rule("tdx: SEAMCALL \\(.*failed", "\\((\\S+)\\) failed: ([^\\s,]+)", this::seamcall)
        .rule(
            "TDX module: attributes ",
            "major_version (\\d+), minor_version (\\d+)(?:, build_date (\\d+))?(?:, build_num (\\d+))?",
            this::moduleFields)
        .rule("tdx: (?:TDX )?module vers", "module \\w+:? *([\\d.]+)", this::moduleVersion)
        .rule(
            "TDX module [\\d.]+, build number ",
            "module ([\\d.]+, build number \\d+)",
            this::moduleVersion);
  }

  /** The facts in the lines of one boot. A last line that breaks off is left out. */
  static HostFacts read(List<LogLine> lines) throws BootLogException {
    HostFactReader reader = new HostFactReader();
    reader.rules.read(lines);
    return reader.facts;
  }

  private void cmr(LogLine line, Matcher form) throws BootLogException {
    sign(line);
    boolean unused = form.group(1).equals("0x0") && form.group(2).equals("0x0");
    if (!unused) {
      facts.cmrs.add(MemRange.exclusive(line, form.group(1), form.group(2)));
    }
  }

  private void affinity(LogLine line, Matcher form) throws BootLogException {
    facts.affinity.add(
        new NodeRange(
            MemoryMapLines.node(line, form),
            MemRange.inclusive(line, form.group(2), form.group(3))));
  }

  private void pamt(LogLine line, Matcher form) throws BootLogException {
    sign(line);
    long unit = form.group(2).equals("pages") ? PAGE_KIB : 1;
    long kib = line.decimal(form.group(1), MAX_PAMT_KIB / unit) * unit;
    Printed known = facts.pamtKib;
    if (known != null && known.value() != kib) {
      throw line.error(
          "%d KB contradict %d KB of line %d: one host has one PAMT"
              .formatted(kib, known.value(), known.line().number()));
    }
    facts.pamtKib = known == null ? new Printed(kib, line) : known;
  }

  private void keyIds(LogLine line, Matcher form) {
    sign(line);
    facts.keyIds = form.group(1);
  }

  private void initialized(LogLine line, Matcher form) {
    sign(line);
    facts.initialized = line;
  }

  private void failed(LogLine line, Matcher form) throws BootLogException {
    sign(line);
    facts.failed = new Printed(line.decimal(form.group(1), Integer.MAX_VALUE), line);
  }

  private void exhausted(LogLine line, Matcher form) throws BootLogException {
    sign(line);
    facts.exhausted = MemRange.exclusive(line, form.group(1), form.group(2));
  }

  private void seamcall(LogLine line, Matcher form) throws BootLogException {
    sign(line);
    if (facts.seamcallError == null) {
      long leaf = unsigned(line, form.group(1)) & 0xFFFF;
      String name =
          SeamcallLeaf.of((int) leaf).map(SeamcallLeaf::kernelName).orElse("leaf " + leaf);
      facts.seamcallError =
          "line %d: SEAMCALL %s: %s"
              .formatted(line.number(), name, TdxStatus.describe(unsigned(line, form.group(2))));
    }
  }

  private void moduleFields(LogLine line, Matcher form) {
    sign(line);
    facts.module =
        "%s.%s%s%s"
            .formatted(
                form.group(1),
                form.group(2),
                form.group(4) == null ? "" : ", build " + form.group(4),
                form.group(3) == null ? "" : " of " + form.group(3));
  }

  private void moduleVersion(LogLine line, Matcher form) {
    sign(line);
    facts.module = form.group(1);
  }

  private void sign(LogLine line) {
    if (facts.sign == null) {
      facts.sign = line;
    }
  }

  /** A hexadecimal number of up to 64 bits. */
  private static long unsigned(LogLine line, String text) throws BootLogException {
    if (!text.matches("0x[0-9a-fA-F]{1,16}")) {
      throw line.error("\"%s\" is not a 64-bit hexadecimal number".formatted(text));
    }
    return Long.parseUnsignedLong(text.substring(2), 16);
  }
}
