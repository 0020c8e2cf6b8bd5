package dev.septum.lab.pamt;

import com.google.errorprone.annotations.FormatMethod;
import dev.septum.lab.pamt.PamtReport.DynamicSection;
import dev.septum.lab.pamt.PamtReport.KernelSection;
import dev.septum.lab.pamt.PamtReport.OutcomeSection;
import dev.septum.lab.pamt.PamtReport.RangeRow;
import dev.septum.lab.pamt.PamtReport.ReservedRow;
import dev.septum.lab.pamt.PamtReport.StaticSection;
import dev.septum.lab.pamt.PamtReport.TdmrRow;
import org.jspecify.annotations.Nullable;

/** A PAMT report for people: sections of aligned rows. */
public final class PamtText {

  private final StringBuilder out = new StringBuilder();

  private PamtText() {}

  /** The text of a report; ends with a line feed. */
  public static String of(PamtReport report) {
    PamtText text = new PamtText();
    text.head(report);
    text.cmrs(report);
    text.tdmrs(report);
    text.staticPamt(report);
    text.dynamicPamt(report.dynamicPamt());
    text.reserved(report);
    text.notes(report);
    text.outcome(report.outcome());
    return text.out.toString();
  }

  private void head(PamtReport report) {
    KernelSection kernel = report.kernel();
    line("host      %s", report.log());
    line("module    %s", orNotLogged(kernel.module()));
    line("KeyIDs    %s", kernel.keyIds() == null ? "not in the log" : kernel.keyIds() + " private");
    line("init      %s", orNotLogged(kernel.initialization()));
  }

  private void cmrs(PamtReport report) {
    heading("Convertible memory: %d CMRs", report.cmrs().size());
    if (!report.cmrs().isEmpty()) {
      line("  %16s  %16s  %14s  %6s", "start", "end", "KiB", "line");
    }
    for (RangeRow cmr : report.cmrs()) {
      line("  %16s  %16s  %14d  %6d", cmr.start(), cmr.end(), cmr.kib(), cmr.line());
    }
  }

  private void tdmrs(PamtReport report) {
    heading(
        "%d TDMRs, from %s; their static PAMT in KiB",
        report.tdmrs().size(), report.memorySource());
    line(
        "  %14s  %14s  %7s  %11s  %8s  %6s  %11s",
        "start", "end", "GiB", "4K", "2M", "1G", "together");
    for (TdmrRow tdmr : report.tdmrs()) {
      line(
          "  %14s  %14s  %7d  %11d  %8d  %6d  %11d",
          tdmr.start(),
          tdmr.end(),
          tdmr.gib(),
          tdmr.pamt4kKib(),
          tdmr.pamt2mKib(),
          tdmr.pamt1gKib(),
          tdmr.pamtKib());
    }
    StaticSection all = report.staticPamt();
    line(
        "  %14s  %14s  %7d  %11d  %8d  %6d  %11d",
        "all", "", all.gib(), all.pamt4kKib(), all.pamt2mKib(), all.pamt1gKib(), all.computedKib());
  }

  private void staticPamt(PamtReport report) {
    heading("PAMT in KiB");
    number("static, computed", report.staticPamt().computedKib());
    number("Dynamic PAMT's static part, computed", report.dynamicPamt().staticKib());
    Long printed = report.staticPamt().printedKib();
    if (printed == null) {
      line("  %-48s %14s", "printed by the kernel", "-");
    } else {
      number("printed by the kernel, line " + report.staticPamt().printedLine(), printed);
    }
  }

  private void dynamicPamt(DynamicSection dynamic) {
    heading("Dynamic PAMT in KiB");
    number("page bitmap", dynamic.bitmapKib());
    number("2M entries", dynamic.pamt2mKib());
    number("1G entries", dynamic.pamt1gKib());
    number("static part", dynamic.staticKib());
    number("page pairs, one for every 2 MiB", dynamic.pairsKib());
    number("worst case", dynamic.worstCaseKib());
    number("kernel: refcounts up to the end of memory", dynamic.refcountsKib());
    number("kernel: refcounts of memory only", dynamic.sparseRefcountsKib());
    heading("Page pairs of Dynamic PAMT");
    number("of all 2 MiB ranges of the TDMRs", dynamic.pairs());
    number("of those with memory in them", dynamic.pairsWithMemory());
    number("that cost as much as static PAMT", dynamic.breakEvenPairs());
  }

  private void reserved(PamtReport report) {
    heading("Reserved areas: at most %d in a TDMR", report.reservedLimit());
    line("  %32s  %6s  %12s  %6s", "TDMR", "holes", "between CMRs", "PAMTs");
    for (ReservedRow row : report.reserved()) {
      line(
          "  %32s  %6d  %12d  %6s",
          row.tdmr(), row.holes(), row.holesBetweenCmrs(), "<= " + row.pamtAreas());
      if (row.limitHitAt() != null) {
        line("    the limit is hit at %s", row.limitHitAt());
      }
    }
  }

  private void notes(PamtReport report) {
    if (!report.notes().isEmpty()) {
      heading("Notes");
      report.notes().forEach(note -> line("  - %s", note));
    }
  }

  private void outcome(OutcomeSection outcome) {
    out.append('\n');
    outcome.agreements().forEach(agreement -> line("%s", agreement));
    if (!outcome.differences().isEmpty()) {
      line("The log and the computation differ:");
      outcome.differences().forEach(difference -> line("  - %s", difference));
    } else if (outcome.agreements().isEmpty()) {
      line("There was nothing to compare.");
    }
  }

  private void number(String name, long value) {
    line("  %-48s %14d", name, value);
  }

  private static String orNotLogged(@Nullable String text) {
    return text == null ? "not in the log" : text;
  }

  @FormatMethod
  private void heading(String format, Object... values) {
    out.append('\n');
    line(format, values);
  }

  @FormatMethod
  private void line(String format, Object... values) {
    out.append(format.formatted(values).stripTrailing()).append('\n');
  }
}
