package dev.septum.bench;

import com.google.common.collect.ImmutableList;
import dev.septum.bench.Figure.Span;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Figures as text: a table, then our share of the best peer's time on each JDK. */
final class FiguresTable {

  private static final String ROW = "%-38s %4s  %10s %10s  %10s %10s  %12s %-15s %10s  %s%n";

  private final List<Figure> figures;

  FiguresTable(List<Figure> figures) {
    this.figures = figures;
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    text.append(
        ROW.formatted("", "", "first", "failure", "completion", "", "", "", "rate", "")
            .stripTrailing());
    text.append('\n');
    text.append(
        ROW.formatted(
            "tool",
            "JDK",
            "cold",
            "warm",
            "cold",
            "warm",
            "explored",
            "of",
            "a second",
            "points a second"));
    figures.forEach(figure -> text.append(row(figure)));
    text.append('\n');
    figures.stream().map(Figure::java).distinct().forEach(java -> text.append(ratios(java)));
    return text.toString();
  }

  private static String row(Figure figure) {
    Double points = figure.stepsPerSecond();
    boolean explored = figure.executions() > 0;
    return ROW.formatted(
        figure.tool().title(),
        figure.java(),
        time(figure.first(), Span::cold),
        time(figure.first(), Span::warm),
        time(figure.complete(), Span::cold),
        time(figure.complete(), Span::warm),
        explored ? count((double) figure.executions()) : "-",
        explored ? figure.tool().unit() : "",
        explored ? count(figure.perSecond()) : "-",
        points == null ? "-" : count(points));
  }

  private static String time(@Nullable Span span, ToDoubleFunction<Span> start) {
    return span == null ? "-" : Measurement.text(start.applyAsDouble(span));
  }

  private static String count(double count) {
    return String.format(Locale.ROOT, "%,.0f", count);
  }

  private String ratios(int java) {
    return ratios(java, "our split cache", Tool::isOurs)
        + ratios(java, "our class", Tool::isCounted);
  }

  private String ratios(int java, String program, Predicate<Tool> ours) {
    String whose = "JDK %d, %s by the best peer".formatted(java, program);
    return ratio(java, whose + ", first failure, cold", ours, Figure::first, Span::cold)
        + ratio(java, whose + ", first failure, warm", ours, Figure::first, Span::warm)
        + ratio(java, whose + ", completion, cold", ours, Figure::complete, Span::cold)
        + ratio(java, whose + ", completion, warm", ours, Figure::complete, Span::warm);
  }

  private String ratio(
      int java,
      String what,
      Predicate<Tool> ours,
      Function<Figure, @Nullable Span> span,
      ToDoubleFunction<Span> start) {
    Optional<Double> our = best(java, ours, span, start);
    Optional<Double> peers = best(java, Tool::isPeer, span, start);
    String result =
        our.isPresent() && peers.isPresent()
            ? String.format(
                Locale.ROOT,
                "%s / %s = %.4f",
                Measurement.text(our.get()),
                Measurement.text(peers.get()),
                our.get() / peers.get())
            : "not completed within the bound";
    return "%-66s %s%n".formatted(what + ":", result);
  }

  private Optional<Double> best(
      int java,
      Predicate<Tool> who,
      Function<Figure, @Nullable Span> span,
      ToDoubleFunction<Span> start) {
    return spans(java, who, span).map(start::applyAsDouble).min(Comparator.naturalOrder());
  }

  private Stream<Span> spans(int java, Predicate<Tool> who, Function<Figure, @Nullable Span> span) {
    return figures.stream()
        .filter(figure -> figure.java() == java && who.test(figure.tool()))
        .map(span)
        .filter(Objects::nonNull);
  }

  /** What the table does not say of itself. */
  static ImmutableList<String> notes() {
    return ImmutableList.of(
        "The protocol: 2 splitters, 2 toppers, 4 pages cached, up to one failed allocation. First",
        "failure: with the second count left out. septum's is that of sampling, random or pct; its",
        "exhaustive search goes through the last choices first and is not for finding.",
        "septum runs the split cache itself, with page pairs, the page allocator, mmu_lock and DPAMT.",
        "A class, and the specification, only count pages, and leave mmu_lock out.",
        "TLC visits each state once, septum each order of conflicting steps: not the same thing.",
        "septum's exhaustive search and TLC have a worker for each processor.",
        "Lincheck stops at a number of executions and never completes.",
        "cold: from the start of the JVM. warm: in a JVM that has done it before; of TLC, which is",
        "started for each specification, from its first line of output.");
  }
}
