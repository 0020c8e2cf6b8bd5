package dev.septum.lab.explore;

import dev.septum.kernel.schedule.Carrier;
import dev.septum.kernel.schedule.Finding;
import dev.septum.kernel.schedule.RunTrace;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A schedule that was run again.
 *
 * @param format of this report
 * @param file with the schedule
 * @param scenario the file that the scenario was in
 * @param recorded what the schedule came to when it was written
 * @param threads by their numbers
 * @param lines what they did, in its order
 * @param steps that it took
 * @param outcome what it came to; null if it did not get so far
 * @param found what kind of thing was found; null if nothing
 * @param report all there is to say about that
 */
public record Replayed(
    int format,
    String file,
    String scenario,
    String backend,
    String recorded,
    List<String> threads,
    List<RunTrace.Line> lines,
    int steps,
    @Nullable String outcome,
    @Nullable String found,
    @Nullable String report) {

  private static final int FORMAT = 1;

  /**
   * Runs the schedule of a file again.
   *
   * @param names of the backends that the scenario may name
   * @param backends the backend that is run on for the one that the file names
   * @throws ScenarioException if the file is none, or Septum does not follow it any more
   */
  public static Replayed of(
      Path path, Set<String> names, Function<String, KvmBackend> backends, Carrier carrier)
      throws ScenarioException {
    ScheduleFile file = ScheduleFile.read(path);
    ScenarioFile scenario = file.scenarioFile(names);
    KvmBackend backend;
    try {
      backend = backends.apply(file.backend());
    } catch (IllegalArgumentException e) {
      throw new ScenarioException("%s: backend: %s".formatted(path, e.getMessage()));
    }
    Explorable.check(scenario, backend);
    RunTrace trace = file.bounds().of(scenario, backend, carrier).show(file.choices(path));
    Finding finding = trace.finding();
    if (finding != null && finding.kind() == Finding.Kind.DIVERGENCE) {
      throw new ScenarioException(
          "%s: this Septum does not follow the schedule: %s".formatted(path, finding.report()));
    }
    String cameTo = finding == null ? trace.outcome() : finding.cause();
    if (trace.steps() != file.steps() || !file.cameTo().equals(cameTo)) {
      throw new ScenarioException(
          "%s: this Septum comes to \"%s\" in %d steps, the file to \"%s\" in %d"
              .formatted(path, cameTo, trace.steps(), file.cameTo(), file.steps()));
    }
    return new Replayed(
        FORMAT,
        path.toString(),
        file.scenario(),
        backend.name(),
        file.cameTo(),
        trace.threads(),
        trace.lines(),
        trace.steps(),
        trace.outcome(),
        finding == null ? null : finding.kind().name(),
        finding == null ? null : finding.report());
  }

  /** Whether nothing was found. */
  public boolean held() {
    return found == null;
  }
}
