package dev.septum.kernel.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.Rcu;
import dev.septum.kernel.SharedRef;
import dev.septum.kernel.SharedWord;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** Grace periods under every schedule, and the end of a program, where there is no choice left. */
class ScheduledRcuTest {

  private static ExplorationResult everySchedule(Program program) {
    ExplorationResult result = Exploration.of(program).exhaustive();
    assertThat(result.failures()).isEmpty();
    assertThat(result.isComplete()).isTrue();
    return result;
  }

  @Test
  void aCallback_runsWhenNoReaderCanSeeWhatItFrees() {
    Set<String> seen = new TreeSet<>();
    everySchedule(
        kernel -> {
          SharedRef<String> current = kernel.ref("old");
          SharedWord freed = kernel.word(0);
          Rcu rcu = kernel.rcu();
          KernelThread reader =
              kernel.spawn(
                  "reader",
                  () -> {
                    rcu.readLock();
                    String found = current.get();
                    boolean isFreed = freed.get() == 1;
                    rcu.readUnlock();
                    assertThat(found.equals("old") && isFreed).as("use after free").isFalse();
                    seen.add(found + (isFreed ? ", freed" : ""));
                  });
          KernelThread writer =
              kernel.spawn(
                  "writer",
                  () -> {
                    current.set("new");
                    rcu.call(() -> freed.set(1));
                  });
          reader.join();
          writer.join();
          rcu.barrier();
          assertThat(freed.get()).isEqualTo(1);
        });
    assertThat(seen).containsExactly("new", "new, freed", "old");
  }

  @Test
  void whoIsAlone_runsItsCallbacksItselfOnceItHasLeftItsSection() {
    ExplorationResult result =
        everySchedule(
            kernel -> {
              SharedWord freed = kernel.word(0);
              Rcu rcu = kernel.rcu();
              rcu.readLock();
              rcu.call(() -> freed.set(1));
              assertThat(freed.get()).isZero();
              rcu.readUnlock();
              assertThat(freed.get()).isEqualTo(1);
              rcu.barrier();
            });
    assertThat(result.schedules()).isEqualTo(1);
    assertThat(result.deepest()).as("steps with a second thread").isZero();
  }

  @Test
  void aCallbackFromBeforeTheFirstThread_runsBesideIt() {
    Set<Long> seen = new TreeSet<>();
    everySchedule(
        kernel -> {
          SharedWord freed = kernel.word(0);
          Rcu rcu = kernel.rcu();
          rcu.readLock();
          rcu.call(() -> freed.set(1));
          KernelThread other = kernel.spawn("other", () -> seen.add(freed.get()));
          rcu.readUnlock();
          other.join();
          rcu.barrier();
          assertThat(freed.get()).isEqualTo(1);
        });
    assertThat(seen).containsExactly(0L, 1L);
  }

  @Test
  void whatComesAfterTheLastThread_isNoPartOfTheSchedule() {
    ExplorationResult result =
        everySchedule(
            kernel -> {
              SharedWord word = kernel.word(0);
              KernelThread other =
                  kernel.spawn("other", () -> kernel.rcu().call(() -> word.add(1)));
              other.join();
              kernel.rcu().barrier();
              for (int i = 0; i < 100_000; i++) {
                word.add(1);
              }
              kernel.rcu().call(() -> word.add(1));
              assertThat(word.get()).isEqualTo(100_002);
            });
    assertThat(result.deepest()).isLessThan(20);
  }
}
