package dev.septum.lab.sweep;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.InParallel;
import dev.septum.lab.Progress;
import dev.septum.lab.report.FindingKind;
import dev.septum.lab.scenario.Phase;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.sweep.Plan.Disturbance;
import dev.septum.lab.sweep.SweepReport.FlowReport;
import dev.septum.lab.sweep.SweepReport.Group;
import dev.septum.lab.sweep.SweepReport.Row;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** Runs every flow of scenarios with every disturbance, alone and in pairs. */
public final class Sweep {

  /** What a disturbance alone came to: where, how, and to what. */
  private record Cell(String place, String mode, String outcome) {
    static final Comparator<Cell> ORDER =
        Comparator.comparing(Cell::place).thenComparing(Cell::mode).thenComparing(Cell::outcome);
  }

  private final KvmBackend backend;
  private final long maxPairs;
  private final long seed;
  private final Progress progress;

  /**
   * A sweep.
   *
   * @param maxPairs how many pairs to run of each flow; if there are more, the seed chooses
   */
  public Sweep(KvmBackend backend, long maxPairs, long seed, Progress progress) {
    this.backend = backend;
    this.maxPairs = maxPairs;
    this.seed = seed;
    this.progress = progress;
  }

  /**
   * The phases of a scenario that are swept: those that say so, else the last one.
   *
   * @throws ScenarioException if one of them has threads: what they do has no order to count in
   */
  public static ImmutableList<Integer> phasesOf(ScenarioFile file) throws ScenarioException {
    List<Phase> phases = file.scenario().phases();
    ImmutableList.Builder<Integer> swept = ImmutableList.builder();
    boolean chosen = phases.stream().anyMatch(phase -> Boolean.TRUE.equals(phase.sweep()));
    for (int i = 0; i < phases.size(); i++) {
      boolean isSwept =
          chosen ? Boolean.TRUE.equals(phases.get(i).sweep()) : i == phases.size() - 1;
      if (isSwept && phases.get(i).concurrently() != null) {
        throw new ScenarioException(
            "%s:%d: a phase with concurrently cannot be swept: its steps have no order"
                .formatted(file.name(), file.lineOf("/phases/" + i)));
      }
      if (isSwept) {
        swept.add(i);
      }
    }
    return swept.build();
  }

  /** Sweeps every flow of the scenarios. */
  public SweepReport run(List<ScenarioFile> files) throws ScenarioException {
    List<FlowReport> flows = new ArrayList<>();
    for (ScenarioFile file : files) {
      for (int phase : phasesOf(file)) {
        flows.add(sweep(file, phase));
      }
    }
    return SweepReport.of(backend.name(), seed, flows);
  }

  /**
   * One run of a flow.
   *
   * @param outcome what it came to
   * @param disturbed whether all that was planned happened
   */
  public record Replay(String outcome, boolean disturbed, List<String> findings) {}

  /**
   * Runs one flow as a plan says.
   *
   * @throws IllegalArgumentException if the text is no plan
   */
  public static Replay replay(ScenarioFile file, KvmBackend backend, int phase, String plan)
      throws ScenarioException {
    Outcome outcome = new Flow(file, backend, phase).run(Plan.parse(plan));
    return new Replay(outcome.kind(), outcome.wasDisturbed(), outcome.findings());
  }

  private FlowReport sweep(ScenarioFile file, int phase) throws ScenarioException {
    Flow flow = new Flow(file, backend, phase);
    Phase swept = file.scenario().phases().get(phase);
    String name = swept.name() == null ? "phase " + (phase + 1) : swept.name();
    Map<Cell, Long> cells = new TreeMap<>(Cell.ORDER);
    Map<String, Group> findings = new LinkedHashMap<>();
    List<Plan> pairs = new ArrayList<>();
    List<Disturbance> singles = disturbancesOf(flow.points());
    List<Outcome> alone =
        InParallel.map(
            file.name() + ", alone", singles.stream().map(Plan::of).toList(), flow::run, progress);
    for (int i = 0; i < singles.size(); i++) {
      Disturbance single = singles.get(i);
      Outcome outcome = alone.get(i);
      cells.merge(
          new Cell(single.point().place(), single.mode().toString(), outcome.kind()),
          1L,
          Long::sum);
      note(findings, Plan.of(single), outcome);
      pairs.addAll(pairsWith(single, outcome));
    }
    long pairsInAll = pairs.size();
    if (pairsInAll > maxPairs) {
      Collections.shuffle(pairs, new Random(seed));
      pairs = pairs.subList(0, (int) maxPairs);
    }
    List<Outcome> together = InParallel.map(file.name() + ", in pairs", pairs, flow::run, progress);
    for (int i = 0; i < pairs.size(); i++) {
      note(findings, pairs.get(i), together.get(i));
    }
    return new FlowReport(
        file.name(),
        file.scenario().scenario(),
        name,
        flow.points().size(),
        singles.size(),
        pairs.size(),
        pairsInAll,
        rowsOf(cells),
        ImmutableList.copyOf(findings.values()));
  }

  private static List<Disturbance> disturbancesOf(List<Point> points) {
    List<Disturbance> all = new ArrayList<>();
    for (Point point : points) {
      Mode.of(point.place()).forEach(mode -> all.add(new Disturbance(point, mode)));
    }
    return all;
  }

  /** A second disturbance at each point that was passed after the first one. */
  private static List<Plan> pairsWith(Disturbance first, Outcome alone) {
    int at = alone.passed().indexOf(first.point());
    List<Plan> pairs = new ArrayList<>();
    disturbancesOf(alone.passed().subList(at + 1, alone.passed().size()))
        .forEach(second -> pairs.add(Plan.of(first).and(second)));
    return pairs;
  }

  private static void note(Map<String, Group> findings, Plan plan, Outcome outcome) {
    for (String text : outcome.findings()) {
      findings.merge(
          FindingKind.of(text),
          new Group(text, 1, plan.toString()),
          (known, again) -> new Group(known.text(), known.runs() + 1, known.plan()));
    }
  }

  private static List<Row> rowsOf(Map<Cell, Long> cells) {
    List<Row> rows = new ArrayList<>();
    cells.forEach((cell, runs) -> rows.add(new Row(cell.place, cell.mode, cell.outcome, runs)));
    return rows;
  }
}
