package dev.septum.bench;

import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.tdx.SplitCacheProgram;

/** What the JVM has seen of the kernel's interfaces when the host runtime is measured. */
public enum Runtimes {
  /** The host runtime only, as in a production run: each call has one possible target. */
  HOST_ONLY {
    @Override
    void use() {}
  },
  /** The scheduled runtime too, as in a test run: calls have two possible targets. */
  BOTH {
    @Override
    void use() {
      ExplorationResult result =
          Exploration.of(new SplitCacheProgram(2, 2, true)).mostSchedules(500).random(1);
      if (!result.isSound()) {
        throw new IllegalStateException(result.toString());
      }
    }
  };

  abstract void use();
}
