package dev.septum.lab.run;

import dev.septum.lab.run.RunReport.StepReport;
import java.util.List;

/** Watches the phases of a run in which several actors are at work, and may disturb them. */
public interface ConcurrentPhases {

  /** Nobody watches. */
  ConcurrentPhases UNWATCHED =
      new ConcurrentPhases() {
        @Override
        public void begins(ScenarioHost host) {}

        @Override
        public boolean ended(ScenarioHost host, List<StepReport> steps) {
          return false;
        }
      };

  /** Such a phase is about to begin. */
  void begins(ScenarioHost host);

  /**
   * It is through.
   *
   * @param steps what was done, by lines
   * @return whether it was disturbed: then the run ends here, nothing of what the scenario expects
   *     is looked at, and tearing the host down is the watcher's
   */
  boolean ended(ScenarioHost host, List<StepReport> steps);
}
