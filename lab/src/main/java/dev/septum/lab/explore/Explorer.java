package dev.septum.lab.explore;

import com.google.common.io.MoreFiles;
import dev.septum.kernel.schedule.Carrier;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.ExplorationWatcher;
import dev.septum.kernel.schedule.RunTrace;
import dev.septum.kernel.schedule.Schedule;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Explores a scenario, shrinks what fails, and writes the schedules down. */
public final class Explorer {

  private final ScenarioFile file;
  private final KvmBackend backend;
  private final Search search;
  private final Path directory;
  private final boolean writesOutcomes;
  private final Exploration exploration;

  /**
   * An explorer of a scenario.
   *
   * @param directory where schedules are written
   * @param writesOutcomes whether one of each outcome is, besides those that fail
   * @throws ScenarioException if the scenario cannot be explored; the message says why
   */
  public Explorer(
      ScenarioFile file,
      KvmBackend backend,
      Search search,
      Carrier carrier,
      Path directory,
      boolean writesOutcomes)
      throws ScenarioException {
    Explorable.check(file, backend);
    this.file = file;
    this.backend = backend;
    this.search = search;
    this.directory = directory;
    this.writesOutcomes = writesOutcomes;
    this.exploration = search.bounds().of(file, backend, carrier);
  }

  /**
   * Explores.
   *
   * @throws IOException if a schedule cannot be written
   */
  public ExploreReport run(int workers, ExplorationWatcher watcher) throws IOException {
    ExplorationResult result = search.run(exploration, workers, watcher);
    List<ExploreReport.Found> findings = new ArrayList<>();
    for (ExplorationResult.Failure failure : result.failures()) {
      findings.add(write(exploration.shrink(failure), findings.size() + 1));
    }
    List<ExploreReport.Outcome> outcomes = new ArrayList<>();
    for (ExplorationResult.Outcome outcome : result.outcomes()) {
      String written =
          writesOutcomes
              ? write("outcome-" + (outcomes.size() + 1), outcome.text(), outcome.schedule())
                  .toString()
              : null;
      outcomes.add(new ExploreReport.Outcome(outcome.count(), outcome.text(), written));
    }
    return ExploreReport.of(
        file.name(),
        file.scenario().scenario(),
        backend.name(),
        search.bounds().failures(),
        result,
        outcomes,
        findings);
  }

  private ExploreReport.Found write(ExplorationResult.Failure failure, int number)
      throws IOException {
    RunTrace trace = exploration.show(failure.schedule());
    Path written =
        write(String.valueOf(number), failure.finding().cause(), failure.schedule(), trace);
    return new ExploreReport.Found(
        failure.finding().kind().name(),
        failure.finding().cause(),
        failure.finding().report(),
        failure.count(),
        trace.steps(),
        failure.preemptions(),
        written.toString());
  }

  private Path write(String suffix, String cameTo, Schedule schedule) throws IOException {
    return write(suffix, cameTo, schedule, exploration.show(schedule));
  }

  private Path write(String suffix, String cameTo, Schedule schedule, RunTrace trace)
      throws IOException {
    String name = MoreFiles.getNameWithoutExtension(Path.of(file.name()));
    Path target = directory.resolve("%s-%s.schedule.yaml".formatted(name, suffix));
    Files.createDirectories(directory);
    ScheduleFile.of(file, backend.name(), search.bounds(), cameTo, trace.steps(), schedule)
        .write(target);
    return target;
  }
}
