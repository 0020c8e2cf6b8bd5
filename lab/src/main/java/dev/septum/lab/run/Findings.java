package dev.septum.lab.run;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.scenario.ScenarioFile;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/** What was found in a run. Safe to add to from any thread. */
final class Findings {

  /**
   * Something that should not be.
   *
   * @param line of the file, where it was found
   */
  record Finding(int line, String text) {}

  private final ScenarioFile file;
  private final Queue<Finding> all = new ConcurrentLinkedQueue<>();

  Findings(ScenarioFile file) {
    this.file = file;
  }

  /** Adds a finding at a place of the file, by its JSON pointer. */
  void add(String at, String text) {
    all.add(new Finding(file.lineOf(at), text));
  }

  /** What was added since the last call. */
  ImmutableList<Finding> take() {
    ImmutableList<Finding> taken = ImmutableList.copyOf(all);
    all.removeAll(taken);
    return taken;
  }
}
