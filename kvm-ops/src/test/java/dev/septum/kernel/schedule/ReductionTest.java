package dev.septum.kernel.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.SharedWord;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
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

  /** Sets of outcomes that more than one worker may add to are not asked for: outcomes are said. */
  private static Program saying(long seed, int threads, int ops) {
    return kernel -> {
      Set<String> said = new TreeSet<>();
      new RandomProgram(seed, threads, ops, said).run(kernel);
      kernel.outcome(String.join(", ", said));
    };
  }

  @Test
  void parts_makeOneWholeForAnyNumberOfWorkers() {
    for (long seed = 0; seed < 20; seed++) {
      Exploration whole = Exploration.of(saying(seed, 3, 2)).mostSchedules(20_000);
      ExplorationResult inOne = whole.exhaustive();
      if (!inOne.isComplete()) {
        continue;
      }
      ExplorationResult byOne = whole.workers(1).exhaustive();
      assertThat(byOne.isComplete()).as("seed %s", seed).isTrue();
      assertThat(byOne.schedules()).as("seed %s", seed).isEqualTo(inOne.schedules());
      assertThat(texts(byOne)).as("seed %s", seed).isEqualTo(texts(inOne));
      assertThat(whole.workers(3).exhaustive()).as("seed %s", seed).isEqualTo(byOne);
    }
  }

  @Test
  void partsOfABoundedSearch_areSharedOutTheSameWay() {
    Exploration bounded = Exploration.of(saying(7, 3, 5)).mostSchedules(300);
    ExplorationResult byOne = bounded.workers(1).exhaustive();
    assertThat(byOne.isComplete()).isFalse();
    assertThat(byOne.schedules() + byOne.pruned()).isGreaterThanOrEqualTo(300);
    assertThat(bounded.workers(2).exhaustive()).isEqualTo(byOne);
    assertThat(bounded.workers(2).preemptionBounded(2))
        .isEqualTo(bounded.workers(1).preemptionBounded(2));
    assertThat(bounded.workers(2).random(5)).isEqualTo(bounded.workers(1).random(5));
    assertThat(bounded.workers(2).pct(5, 3)).isEqualTo(bounded.workers(1).pct(5, 3));
  }

  @Test
  void aWatcherThatHasSeenEnough_endsTheSearchWithWhatItHas() {
    ExplorationResult result =
        Exploration.of(saying(7, 3, 5))
            .workers(2)
            .watchedBy((runs, partsDone, parts) -> false)
            .mostSchedules(1_000_000)
            .everyInterleaving();
    assertThat(result.isComplete()).isFalse();
    assertThat(result.schedules()).isPositive().isLessThan(1_000_000);
  }

  private static Map<String, Long> texts(ExplorationResult result) {
    Map<String, Long> texts = new TreeMap<>();
    result.outcomes().forEach(outcome -> texts.put(outcome.text(), outcome.count()));
    return texts;
  }
}
