package dev.septum.kernel.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.SharedWord;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** What is left out makes no difference: the outcomes are those of every interleaving. */
class ReductionTest {

  private static final long MOST = 1_000;
  private static final long SEEDS = 60;

  /** A thread that gives way before it has looked at anything does not spin. */
  @Test
  void threadsThatGiveWayFirst_goInEitherOrder() {
    Set<String> outcomes = new TreeSet<>();
    Program program =
        kernel -> {
          SharedWord word = kernel.word(0);
          long[] seen = new long[1];
          KernelThread reader =
              kernel.spawn(
                  "reader",
                  () -> {
                    kernel.condResched();
                    kernel.condResched();
                    seen[0] = word.get();
                  });
          KernelThread writer =
              kernel.spawn(
                  "writer",
                  () -> {
                    kernel.condResched();
                    word.set(7);
                  });
          reader.join();
          writer.join();
          outcomes.add("saw " + seen[0]);
        };
    assertThat(Exploration.of(program).exhaustive().isComplete()).isTrue();
    assertThat(outcomes).containsExactly("saw 0", "saw 7");
  }

  @Test
  void outcomesOfRandomPrograms_areThoseOfEveryInterleaving() {
    long reduced = 0;
    long naive = 0;
    int compared = 0;
    for (long seed = 0; seed < SEEDS; seed++) {
      int threads = 2 + (int) (seed % 2);
      int ops = threads == 2 ? 2 : 1;
      Set<String> all = new TreeSet<>();
      ExplorationResult every =
          Exploration.of(new RandomProgram(seed, threads, ops, all))
              .mostSchedules(MOST)
              .everyInterleaving();
      if (!every.isComplete()) {
        continue;
      }
      Set<String> some = new TreeSet<>();
      ExplorationResult result =
          Exploration.of(new RandomProgram(seed, threads, ops, some)).exhaustive();
      assertThat(result.isComplete()).as("seed %s", seed).isTrue();
      assertThat(some).as("seed %s", seed).isEqualTo(all);
      assertThat(result.failures()).as("seed %s", seed).isEmpty();
      assertThat(result.schedules()).as("seed %s", seed).isLessThanOrEqualTo(every.schedules());
      reduced += result.schedules();
      naive += every.schedules();
      compared++;
    }
    assertThat(compared).isGreaterThan(25);
    assertThat(naive).isGreaterThan(10 * reduced);
  }
}
