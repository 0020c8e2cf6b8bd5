package dev.septum.lab.report;

import com.google.errorprone.annotations.FormatMethod;
import dev.septum.lab.report.BootReport.BufferRow;
import dev.septum.lab.report.BootReport.GuestSection;
import dev.septum.lab.report.BootReport.HostSection;
import dev.septum.lab.report.BootReport.MemorySection;
import dev.septum.lab.report.BootReport.OutcomeSection;
import dev.septum.lab.report.BootReport.RangeRow;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A report for people: sections of aligned rows, at most 100 columns wide. */
public final class TextReport {

  static final int COLUMNS = 100;

  private static final int LABEL_COLUMNS = 10;

  private final StringBuilder out = new StringBuilder();

  private TextReport() {}

  /** The text of a report; ends with a line feed. */
  public static String of(BootReport report) {
    TextReport text = new TextReport();
    text.head(report.guest(), report.host());
    text.memory(report.memory());
    text.counters("Accepts done", report.accepts().byLevel());
    text.counters("EPT violations and faults", report.faults().byKind());
    if (report.host().tdxModule()) {
      text.counters("SEAMCALLs of the boot", report.seamcalls());
    }
    text.counters("Splits", report.splits().byCause());
    text.activity(report);
    text.counters("mmu_lock dropped", report.mmuLock().dropsByReason());
    text.pages(report);
    text.stats(report);
    text.outcome(report.outcome());
    return text.out.toString();
  }

  private void head(GuestSection guest, HostSection host) {
    labelled("guest", guest.log());
    String where = guest.evidenceLine() == 0 ? "" : "line %d: ".formatted(guest.evidenceLine());
    labelled("evidence", where + guest.evidence() + (guest.evidenceCertain() ? "" : " (no proof)"));
    labelled(
        host.tdxModule() ? "TD" : "VM",
        "%d vCPU%s, accepts %s"
            .formatted(
                guest.vcpus(),
                guest.vcpus() == 1 ? "" : "s",
                guest.touchFirst() ? "after the first touch" : "before the first touch"));
    labelled(
        "host",
        "%d MiB, placement %s%s%s, MapGPA chunk %s, backend %s"
            .formatted(
                host.memoryBytes() >> 20,
                host.placement(),
                host.placement().equals("seeded") ? " by seed " + host.seed() : "",
                host.tdxModule() ? ", Dynamic PAMT " + (host.dynamicPamt() ? "on" : "off") : "",
                host.mapGpaChunk(),
                host.backend()));
  }

  private void memory(MemorySection memory) {
    heading("Guest memory: %d KiB".formatted(memory.ramKib()));
    line(
        "  %14s  %14s  %12s  %8s  %8s  %5s  %s", "start", "end", "KiB", "2M", "4K", "line", "from");
    for (RangeRow range : memory.ranges()) {
      line(
          "  %14s  %14s  %12d  %8d  %8d  %5s  %s",
          range.start(),
          range.end(),
          range.kib(),
          range.accepts2m(),
          range.accepts4k(),
          range.line() == 0 ? "-" : Integer.toString(range.line()),
          range.source());
    }
    BufferRow swiotlb = memory.swiotlb();
    if (swiotlb != null) {
      line(
          "  %14s  %14s  %12d  %s",
          swiotlb.start(),
          swiotlb.end(),
          swiotlb.kib(),
          swiotlb.assumed() ? "bounce buffer, assumed" : "bounce buffer");
    }
    if (!memory.assumptions().isEmpty()) {
      heading("Assumed");
      memory.assumptions().forEach(text -> wrapped("  - ", "    ", text));
    }
  }

  private void activity(BootReport report) {
    heading("Conversions to shared");
    counter("MapGPA calls", report.conversions().mapGpaCalls());
    counter("chunks", report.conversions().chunks());
    counter("huge leafs zapped whole", report.conversions().wholeLeafsZapped());
    counter("4K leafs zapped", report.conversions().smallLeafsZapped());
    if (report.host().tdxModule()) {
      moduleActivity(report);
    }
  }

  /** What there is with a TDX module only. */
  private void moduleActivity(BootReport report) {
    heading("Split cache");
    counter("topups", report.splitCache().topups());
    counter("pages put in", report.splitCache().pagesPutIn());
    counter("pages drawn", report.splitCache().pagesDrawn());
    counter("pages left over", report.splitCache().pagesLeft());
    heading("Dynamic PAMT");
    counter("gets, fast", report.pamt().getsFast());
    counter("gets, slow", report.pamt().getsSlow());
    counter("puts", report.pamt().puts());
    counter("page pairs after boot", report.pamt().pairsNow());
    counter("page pairs at the peak", report.pamt().pairsPeak());
    heading("Retries");
    counter("busy SEAMCALLs", report.retries().busy());
    counter("vCPUs kicked", report.retries().kicks());
  }

  private void pages(BootReport report) {
    heading("Pages by owner");
    line("  %-48s %14s %14s", "", "after boot", "destroyed");
    Map<String, Long> after = report.pages().afterDestruction();
    report
        .pages()
        .afterBoot()
        .forEach(
            (owner, count) ->
                line("  %-48s %14d %14d", owner, count, after.getOrDefault(owner, 0L)));
    counter(
        report.host().tdxModule() ? "Secure EPT pages" : "external page table pages",
        report.pages().secureEpt());
  }

  private void stats(BootReport report) {
    counters("VM statistics", report.stats().vm());
    List<? extends Map<String, Long>> vcpus = report.stats().vcpus();
    Map<String, Long> sums = new LinkedHashMap<>();
    vcpus.forEach(vcpu -> vcpu.forEach((name, count) -> sums.merge(name, count, Long::sum)));
    counters(
        vcpus.size() == 1
            ? "vCPU statistics"
            : "vCPU statistics, %d vCPUs together".formatted(vcpus.size()),
        sums);
  }

  private void outcome(OutcomeSection outcome) {
    heading(outcome.held() ? "All held: every page is back." : "Something was found");
    outcome
        .leaks()
        .forEach((owner, count) -> line("  %d pages of %s did not come back", count, owner));
    outcome.violations().forEach(text -> wrapped("  - ", "    ", text));
    String bug = outcome.bug();
    if (bug != null) {
      bug.lines().forEach(text -> line("  %s", text));
    }
  }

  private void counters(String title, Map<String, Long> counters) {
    heading(title + (counters.isEmpty() ? ": none" : ""));
    counters.forEach(this::counter);
  }

  private void counter(String name, long count) {
    line("  %-48s %14d", name, count);
  }

  private void labelled(String label, String text) {
    wrapped(pad(label), pad(""), text);
  }

  private static String pad(String label) {
    return label + " ".repeat(LABEL_COLUMNS - label.length());
  }

  private void heading(String text) {
    out.append('\n').append(text).append('\n');
  }

  @FormatMethod
  private void line(String format, Object... values) {
    out.append(format.formatted(values).stripTrailing()).append('\n');
  }

  /** Breaks a text at spaces; a word longer than a line is broken where the line ends. */
  private void wrapped(String first, String next, String text) {
    String indent = first;
    String rest = text;
    while (indent.length() + rest.length() > COLUMNS) {
      int room = COLUMNS - indent.length();
      int space = rest.lastIndexOf(' ', room);
      int end = space > 0 ? space : room;
      out.append(indent).append(rest, 0, end).append('\n');
      rest = rest.substring(end).stripLeading();
      indent = next;
    }
    out.append(indent).append(rest).append('\n');
  }
}
