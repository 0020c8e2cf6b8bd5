package dev.septum.lab.fuzz;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.InParallel;
import dev.septum.lab.Progress;
import dev.septum.lab.fuzz.FuzzReport.Found;
import dev.septum.lab.report.FindingKind;
import dev.septum.lab.run.RunReport;
import dev.septum.lab.run.ScenarioRun;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import dev.septum.lab.scenario.ScenarioReader;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.LongStream;

/** Runs random scenarios, and shortens the first one of each kind in which something is found. */
public final class Fuzz {

  private static final Pattern BUGGED = Pattern.compile("KVM_BUG_ON\\(.*?\\) at \\S+");

  private final KvmBackend backend;
  private final int steps;

  /** Scenarios of so many steps. */
  public Fuzz(KvmBackend backend, int steps) {
    this.backend = backend;
    this.steps = steps;
  }

  private RandomScenario scenario(long seed) {
    return RandomScenario.of(seed, steps, backend);
  }

  private ScenarioFile read(RandomScenario scenario) throws ScenarioException {
    return ScenarioReader.read(
        "seed " + scenario.seed(), scenario.text(), ImmutableSet.copyOf(scenario.backends()));
  }

  /** Runs as many scenarios, with seeds from {@code seed} on. */
  public FuzzReport run(long seed, long runs, Progress progress) {
    List<Long> seeds = LongStream.range(seed, seed + runs).boxed().toList();
    List<Optional<String>> first =
        InParallel.map("random scenarios", seeds, s -> firstFinding(scenario(s)), progress);
    Map<String, Found> kinds = new LinkedHashMap<>();
    for (int i = 0; i < seeds.size(); i++) {
      if (first.get(i).isPresent()) {
        String text = first.get(i).get();
        Found found = new Found(text, 1, seeds.get(i), "");
        kinds.merge(
            FindingKind.of(text),
            found,
            (known, again) -> new Found(known.text(), known.runs() + 1, known.seed(), ""));
      }
    }
    ImmutableList<Found> findings =
        kinds.values().stream().map(this::shortened).collect(ImmutableList.toImmutableList());
    return new FuzzReport(
        FuzzReport.FORMAT, backend.name(), seed, runs, steps, findings, findings.isEmpty());
  }

  /** The first thing that is found in a scenario. */
  private Optional<String> firstFinding(RandomScenario scenario) {
    RunReport report;
    try {
      report = ScenarioRun.run(read(scenario), backend, TraceSink.OFF);
    } catch (ScenarioException e) {
      throw new IllegalStateException("a random scenario is no scenario", e);
    } catch (IllegalStateException | IllegalArgumentException e) {
      // An invariant that the emulator itself watches over.
      return Optional.of("the emulator stopped: " + e.getMessage());
    }
    List<String> texts = report.allFindings().stream().map(RunReport.Found::text).toList();
    // A bugged VM is the cause of whatever else is wrong.
    return texts.stream()
        .flatMap(text -> BUGGED.matcher(text).results().map(MatchResult::group))
        .findFirst()
        .or(() -> texts.stream().findFirst());
  }

  /** The same finding in a scenario from which nothing can be left out. */
  private Found shortened(Found found) {
    String kind = FindingKind.of(found.text());
    RandomScenario scenario = scenario(found.seed());
    String text = found.text();
    boolean shorter = true;
    while (shorter) {
      shorter = false;
      for (RandomScenario simpler : scenario.simpler()) {
        Optional<String> first =
            simpler.acts().isEmpty() ? Optional.empty() : firstFinding(simpler);
        if (first.isPresent() && FindingKind.of(first.get()).equals(kind)) {
          scenario = simpler;
          text = first.get();
          shorter = true;
          break;
        }
      }
    }
    return new Found(text, found.runs(), found.seed(), scenario.text());
  }
}
