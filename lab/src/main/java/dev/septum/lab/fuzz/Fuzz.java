package dev.septum.lab.fuzz;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.InParallel;
import dev.septum.lab.Progress;
import dev.septum.lab.fuzz.FuzzReport.Found;
import dev.septum.lab.run.RunReport;
import dev.septum.lab.run.ScenarioRun;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioReader;
import dev.septum.tdx.TdxDesign;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.LongStream;

/** Runs random scenarios, and shortens the first one of each kind in which something is found. */
public final class Fuzz {

  private static final Pattern NUMBER = Pattern.compile("0x\\p{XDigit}+|-?\\d+");

  private final TdxDesign design;
  private final int steps;
  private final Progress progress;

  /** Scenarios of so many steps. */
  public Fuzz(TdxDesign design, int steps, Progress progress) {
    this.design = design;
    this.steps = steps;
    this.progress = progress;
  }

  /** Runs as many scenarios, with seeds from {@code seed} on. */
  public FuzzReport run(long seed, long runs) {
    List<Long> seeds = LongStream.range(seed, seed + runs).boxed().toList();
    List<Optional<String>> first =
        InParallel.map(
            "random scenarios", seeds, s -> firstFinding(RandomScenario.of(s, steps)), progress);
    Map<String, Found> kinds = new LinkedHashMap<>();
    for (int i = 0; i < seeds.size(); i++) {
      if (first.get(i).isPresent()) {
        String text = first.get(i).get();
        Found found = new Found(text, 1, seeds.get(i), "");
        kinds.merge(
            kindOf(text),
            found,
            (known, again) -> new Found(known.text(), known.runs() + 1, known.seed(), ""));
      }
    }
    ImmutableList<Found> findings =
        kinds.values().stream().map(this::shortened).collect(ImmutableList.toImmutableList());
    return new FuzzReport(
        FuzzReport.FORMAT, design.name(), seed, runs, steps, findings, findings.isEmpty());
  }

  private static String kindOf(String text) {
    return NUMBER.matcher(text).replaceAll("#");
  }

  /** The first thing that is found in a scenario. */
  private Optional<String> firstFinding(RandomScenario scenario) {
    RunReport report;
    try {
      report =
          ScenarioRun.run(
              ScenarioReader.read("seed " + scenario.seed(), scenario.text()),
              design,
              TraceSink.OFF);
    } catch (ScenarioException e) {
      throw new IllegalStateException("a random scenario is no scenario", e);
    } catch (IllegalStateException | IllegalArgumentException e) {
      // An invariant that the emulator itself watches over.
      return Optional.of("the emulator stopped: " + e.getMessage());
    }
    return report.allFindings().stream().map(RunReport.Found::text).findFirst();
  }

  /** The same finding with as few phases as can be. */
  private Found shortened(Found found) {
    String kind = kindOf(found.text());
    RandomScenario scenario = RandomScenario.of(found.seed(), steps);
    String text = found.text();
    for (int i = scenario.phases().size() - 1; i >= 0; i--) {
      RandomScenario shorter = scenario.without(i);
      Optional<String> first =
          shorter.phases().isEmpty() ? Optional.empty() : firstFinding(shorter);
      if (first.isPresent() && kindOf(first.get()).equals(kind)) {
        scenario = shorter;
        text = first.get();
      }
    }
    return new Found(text, found.runs(), found.seed(), scenario.text());
  }
}
