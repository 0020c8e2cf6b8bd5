package dev.septum.bench;

import com.google.common.collect.ImmutableList;
import dev.septum.bench.ChildJvm.Line;
import dev.septum.bench.Figure.Span;
import dev.septum.kernel.schedule.Carrier;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Measures every tool on one JDK, one after the other; a time is the median of its rounds. */
final class Measurement {

  /** Each of Lincheck's takes a third of a second. */
  private static final int MOST_WARM_ROUNDS_OF_LINCHECK = 10;

  private final Path javaHome;
  private final Bounds bounds;
  private final TlcModel tlc;
  private final Line about;

  /**
   * How much is measured.
   *
   * @param rounds cold starts of each kind
   * @param warmRounds how often each JVM looks for the first failure; the second half is warm
   * @param mostSchedules bound of our search for completion
   * @param invocations Lincheck's bound for each scenario
   * @param large whether TLC is given more threads too, for its rate
   */
  record Bounds(int rounds, int warmRounds, long mostSchedules, int invocations, boolean large) {}

  Measurement(Path javaHome, Bounds bounds, TlcModel tlc) {
    this.javaHome = javaHome;
    this.bounds = bounds;
    this.tlc = tlc;
    this.about = ChildJvm.find(run(SeptumSubject.class.getName()), "java ");
  }

  /** One figure for each tool. */
  ImmutableList<Figure> all() {
    ImmutableList.Builder<Figure> figures = ImmutableList.builder();
    for (Carrier carrier : Carrier.values()) {
      if (about.text().contains(carrier.name())) {
        figures.add(
            sampling(carrier, "random"),
            sampling(carrier, "pct"),
            exhaustive(carrier),
            counted(carrier));
      }
    }
    figures.add(lincheck(), tlc());
    if (bounds.large()) {
      figures.add(tlcLarge());
    }
    return figures.build();
  }

  private Figure sampling(Carrier carrier, String strategy) {
    Span first = first(() -> septum("real", carrier, "first", strategy, bounds.warmRounds()));
    Tool tool = Tool.valueOf(carrier + "_" + strategy.toUpperCase(Locale.ROOT));
    return new Figure(tool, feature(), first, null, 0, 0, null);
  }

  private Figure exhaustive(Carrier carrier) {
    return complete(Tool.valueOf(carrier + "_EXHAUSTIVE"), "real", carrier, null);
  }

  private Figure counted(Carrier carrier) {
    Span first = first(() -> septum("counted", carrier, "first", "random", bounds.warmRounds()));
    return complete(Tool.valueOf(carrier + "_COUNTED"), "counted", carrier, first);
  }

  private Figure complete(Tool tool, String pages, Carrier carrier, @Nullable Span first) {
    List<Line> lines = septum(pages, carrier, "complete", "exhaustive", 2);
    List<Mark.Said> said = said(lines);
    Mark.Said warm = said.get(1);
    Span complete =
        warm.mark() == Mark.COMPLETE
            ? new Span(seconds(ChildJvm.find(lines, "mark ").nanos()), seconds(warm.nanos()))
            : null;
    double seconds = seconds(warm.nanos());
    return new Figure(
        tool,
        feature(),
        first,
        complete,
        warm.executions(),
        warm.executions() / seconds,
        warm.steps() / seconds);
  }

  private Figure lincheck() {
    Span first =
        first(() -> lincheck("first", Math.min(bounds.warmRounds(), MOST_WARM_ROUNDS_OF_LINCHECK)));
    Mark.Said warm = said(lincheck("bounded", 2)).get(1);
    return new Figure(
        Tool.LINCHECK,
        feature(),
        first,
        null,
        warm.executions(),
        warm.executions() / seconds(warm.nanos()),
        null);
  }

  private Figure tlc() {
    Span first = tlcSpan(rounds(() -> tlc.run(javaHome, 2, 2, false)), "is violated");
    return tlcFigure(Tool.TLC, first, rounds(() -> tlc.run(javaHome, 2, 2, true)));
  }

  private Figure tlcLarge() {
    return tlcFigure(Tool.TLC_LARGE, null, ImmutableList.of(tlc.run(javaHome, 4, 3, true)));
  }

  private Figure tlcFigure(Tool tool, @Nullable Span first, List<List<Line>> runs) {
    Span complete = tlcSpan(runs, "checking completed");
    long states = TlcModel.distinctStates(runs.get(0));
    return new Figure(tool, feature(), first, complete, states, states / complete.warm(), null);
  }

  private List<List<Line>> rounds(Supplier<List<Line>> run) {
    return IntStream.range(0, bounds.rounds()).mapToObj(i -> run.get()).toList();
  }

  /** TLC is started anew for each specification: without the start of its JVM it is warm. */
  private static Span tlcSpan(List<List<Line>> runs, String text) {
    List<Double> cold = new ArrayList<>();
    List<Double> warm = new ArrayList<>();
    for (List<Line> lines : runs) {
      long end = ChildJvm.find(lines, text).nanos();
      cold.add(seconds(end));
      warm.add(seconds(end - lines.get(0).nanos()));
    }
    return new Span(median(cold), median(warm));
  }

  /** Cold is when the first mark of a JVM arrives; warm is what its later rounds say. */
  private Span first(Supplier<List<Line>> run) {
    List<Double> cold = new ArrayList<>();
    List<Double> warm = new ArrayList<>();
    for (List<Line> lines : rounds(run)) {
      cold.add(seconds(ChildJvm.find(lines, "mark ").nanos()));
      List<Mark.Said> said = said(lines);
      said.subList(said.size() / 2, said.size()).forEach(s -> warm.add(seconds(s.nanos())));
    }
    return new Span(median(cold), median(warm));
  }

  private List<Line> septum(
      String pages, Carrier carrier, String goal, String strategy, int rounds) {
    return run(
        SeptumSubject.class.getName(),
        pages,
        carrier.name(),
        goal,
        strategy,
        Integer.toString(rounds),
        Long.toString(bounds.mostSchedules()));
  }

  private List<Line> lincheck(String goal, int rounds) {
    return run(
        LincheckSubject.class.getName(),
        goal,
        Integer.toString(rounds),
        Integer.toString(bounds.invocations()));
  }

  private List<Line> run(String mainClass, String... arguments) {
    return ChildJvm.run(javaHome, mainClass, ImmutableList.copyOf(arguments));
  }

  private int feature() {
    return Integer.parseInt(about.text().split(" ", 3)[1]);
  }

  private static List<Mark.Said> said(List<Line> lines) {
    List<Mark.Said> said =
        lines.stream().map(Line::text).map(Mark::parse).flatMap(Optional::stream).toList();
    if (said.isEmpty()) {
      throw new IllegalStateException("nothing was measured: " + lines);
    }
    return said;
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }

  private static double seconds(long nanos) {
    return nanos / 1e9;
  }

  /** A time as a table shows it. */
  static String text(double seconds) {
    return seconds < 0.1
        ? String.format(Locale.ROOT, "%.2f ms", seconds * 1e3)
        : String.format(Locale.ROOT, "%.2f s", seconds);
  }
}
