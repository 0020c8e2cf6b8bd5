package dev.septum.lab.pamt;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.bootlog.MemRange;
import dev.septum.lab.pamt.HostFacts.Printed;
import dev.septum.lab.pamt.PamtReport.OutcomeSection;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a log says beside what was computed from it. */
final class LogComparison {

  private final HostFacts facts;
  private final TdmrLayout layout;
  private final List<String> agreements = new ArrayList<>();
  private final List<String> differences = new ArrayList<>();
  private final List<String> notes = new ArrayList<>();

  private LogComparison(HostFacts facts, TdmrLayout layout) {
    this.facts = facts;
    this.layout = layout;
  }

  /** Compares; {@code showsMap} says whether the layout has the holes of the kernel's own map. */
  static LogComparison of(HostFacts facts, TdmrLayout layout, boolean showsMap) {
    LogComparison comparison = new LogComparison(facts, layout);
    comparison.comparePamt();
    comparison.compareTdmrs();
    comparison.compareReserved(showsMap);
    return comparison;
  }

  /** Whether the kernel printed the PAMT of this layout, static or dynamic. */
  static boolean isPrinted(HostFacts facts, TdmrLayout layout) {
    Printed printed = facts.pamtKib;
    return printed != null
        && (printed.value() == layout.staticKib() || printed.value() == layout.dynamicStaticKib());
  }

  OutcomeSection outcome() {
    return new OutcomeSection(
        differences.isEmpty(), ImmutableList.copyOf(agreements), ImmutableList.copyOf(differences));
  }

  /** What could not be compared. */
  List<String> notes() {
    return notes;
  }

  private void comparePamt() {
    Printed printed = facts.pamtKib;
    if (printed == null) {
      notes.add("the log prints no size of the PAMT");
    } else if (printed.value() == layout.staticKib()) {
      agreements.add("The kernel printed what was computed.");
    } else if (printed.value() == layout.dynamicStaticKib()) {
      agreements.add("The kernel printed what was computed: the static part of Dynamic PAMT.");
    } else {
      differences.add(difference(printed, layout.staticKib()));
    }
  }

  private String difference(Printed printed, long computed) {
    long kib = Math.abs(printed.value() - computed);
    String direction = printed.value() < computed ? "less" : "more";
    long gib = layout.bytes() / PamtSize.GIB;
    long printedGib = PamtSize.gibOf(printed.value());
    // Each TDMR rounds its 1G entries up to a page.
    String reason =
        gib == printedGib
            ? "the same %d GiB, as if cut into %d TDMRs %s".formatted(gib, kib / 4, direction)
            : "the static PAMT of %d GiB, where the TDMRs have %d GiB".formatted(printedGib, gib);
    return "computed %d KB, line %d prints %d KB, %d KB %s: %s"
        .formatted(computed, printed.line().number(), printed.value(), kib, direction, reason);
  }

  private void compareTdmrs() {
    if (layout.tdmrs().size() > TdmrLayout.MAX_TDMRS) {
      differences.add(
          "%d TDMRs, but the module takes %d"
              .formatted(layout.tdmrs().size(), TdmrLayout.MAX_TDMRS));
    }
  }

  private void compareReserved(boolean showsMap) {
    MemRange printed = facts.exhausted;
    if (printed == null) {
      return;
    }
    int line = printed.line().number();
    Tdmr tdmr = tdmrOf(printed);
    if (tdmr == null) {
      differences.add(
          "line %d names TDMR %s, which is none of those here".formatted(line, printed));
    } else if (!showsMap) {
      notes.add(
          ("line %d: reserved areas of TDMR %s ran out; holes of the kernel's own memory map"
                  + " count, which the log does not show")
              .formatted(line, printed));
    } else if (mayExceedLimit(tdmr)) {
      agreements.add(
          "Reserved areas run out in TDMR %s, as line %d says.".formatted(printed, line));
    } else {
      differences.add(
          "line %d: reserved areas of TDMR %s ran out, but it has %d holes and the limit is %d"
              .formatted(line, printed, layout.holes(tdmr).size(), TdmrLayout.MAX_RESERVED));
    }
  }

  private @Nullable Tdmr tdmrOf(MemRange printed) {
    Optional<Tdmr> found =
        layout.tdmrs().stream()
            .filter(t -> t.start() == printed.start() && t.end() == printed.end())
            .findFirst();
    return found.orElse(null);
  }

  /** The PAMT of any TDMR may lie inside, and is a reserved area then. */
  private boolean mayExceedLimit(Tdmr tdmr) {
    return layout.holes(tdmr).size() + layout.tdmrs().size() > TdmrLayout.MAX_RESERVED;
  }
}
