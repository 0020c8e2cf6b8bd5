package dev.septum.kernel.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import org.junit.jupiter.api.Test;

/** Small protocols whose faults everybody knows: each is found, and its sound form is not. */
class ClassicProtocolsTest {

  /** Two threads that each add one by reading and writing. */
  static void lostUpdate(ScheduledKernel kernel) {
    SharedWord word = kernel.word(0);
    Runnable increment = () -> word.set(word.get() + 1);
    KernelThread a = kernel.spawn("a", increment);
    KernelThread b = kernel.spawn("b", increment);
    a.join();
    b.join();
    assertThat(word.get()).as("increments").isEqualTo(2);
  }

  static void lockedUpdate(ScheduledKernel kernel) {
    SharedWord word = kernel.word(0);
    SpinLock lock = kernel.spinLock(LockClass.PAMT_LOCK);
    Runnable increment =
        () -> {
          lock.lock();
          word.set(word.get() + 1);
          lock.unlock();
        };
    KernelThread a = kernel.spawn("a", increment);
    KernelThread b = kernel.spawn("b", increment);
    KernelThread c = kernel.spawn("c", increment);
    a.join();
    b.join();
    c.join();
    assertThat(word.get()).as("increments").isEqualTo(3);
  }

  /** Peterson's lock; broken, each looks at the other's flag before it raises its own. */
  static Program peterson(boolean broken) {
    return kernel -> {
      SharedWord[] wants = {kernel.word(0), kernel.word(0)};
      SharedWord turn = kernel.word(0);
      SharedWord inside = kernel.word(0);
      KernelThread[] threads = new KernelThread[2];
      for (int i = 0; i < 2; i++) {
        int me = i;
        threads[i] =
            kernel.spawn(
                "p" + i,
                () -> {
                  if (broken) {
                    turn.set(1 - me);
                    wants[me].set(1);
                  } else {
                    wants[me].set(1);
                    turn.set(1 - me);
                  }
                  while (wants[1 - me].get() == 1 && turn.get() == 1 - me) {
                    kernel.condResched();
                  }
                  assertThat(inside.addAndGet(1)).as("threads inside").isEqualTo(1);
                  inside.addAndGet(-1);
                  wants[me].set(0);
                });
      }
      threads[0].join();
      threads[1].join();
    };
  }

  /** Two vCPUs that each kick the other out of the guest before they leave it. */
  static void crossedKicks(ScheduledKernel kernel) {
    GuestMode first = kernel.guestMode();
    GuestMode second = kernel.guestMode();
    KernelThread a =
        kernel.spawn(
            "a",
            () -> {
              first.enter();
              second.kickAndWait();
              first.leave();
            });
    KernelThread b =
        kernel.spawn(
            "b",
            () -> {
              second.enter();
              first.kickAndWait();
              second.leave();
            });
    a.join();
    b.join();
  }

  @Test
  void lostUpdate_isFound() {
    ExplorationResult result = Exploration.of(ClassicProtocolsTest::lostUpdate).exhaustive();
    assertThat(result.isComplete()).isTrue();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0).finding().report()).contains("increments");
  }

  @Test
  void lockedUpdate_isSound() {
    ExplorationResult result = Exploration.of(ClassicProtocolsTest::lockedUpdate).exhaustive();
    assertThat(result.isComplete()).isTrue();
    assertThat(result.failures()).isEmpty();
    // The orders in which three threads can take a lock.
    assertThat(result.schedules()).isEqualTo(6);
  }

  @Test
  void peterson_isSound() {
    ExplorationResult result = Exploration.of(peterson(false)).exhaustive();
    assertThat(result.isComplete()).isTrue();
    assertThat(result.failures()).isEmpty();
  }

  @Test
  void petersonBroken_letsTwoIn() {
    ExplorationResult result = Exploration.of(peterson(true)).exhaustive();
    assertThat(result.failures()).isNotEmpty();
  }

  @Test
  void crossedKicks_areADeadlock() {
    ExplorationResult result = Exploration.of(ClassicProtocolsTest::crossedKicks).exhaustive();
    assertThat(result.isComplete()).isTrue();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0).finding().kind()).isEqualTo(Finding.Kind.DEADLOCK);
    assertThat(result.failures().get(0).finding().report())
        .contains("a/1 waits to see the exit of guest mode 3 a:1, which is with b/2")
        .contains("b/2 waits to see the exit of guest mode 2 b:1, which is with a/1")
        .contains("ClassicProtocolsTest.java:")
        .contains("and behind it: main/0 waits to join thread a");
  }

  /** A vCPU that looks once whether it must leave, and then stays in the guest for good. */
  @Test
  void kickThatIsLookedForTooEarly_isALostWakeUp() {
    ExplorationResult result =
        Exploration.of(
                kernel -> {
                  GuestMode mode = kernel.guestMode();
                  KernelThread vcpu =
                      kernel.spawn(
                          "vcpu",
                          () -> {
                            mode.enter();
                            if (mode.isExitRequested()) {
                              mode.leave();
                            }
                          });
                  mode.kickAndWait();
                  vcpu.join();
                })
            .exhaustive();
    assertThat(result.isComplete()).isTrue();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0).finding().kind()).isEqualTo(Finding.Kind.LOST_WAKE_UP);
  }

  /** Two threads that each give way as long as the other one wants to go. */
  @Test
  void politeThreads_areALivelock() {
    ExplorationResult result =
        Exploration.of(
                kernel -> {
                  SharedWord[] wants = {kernel.word(0), kernel.word(0)};
                  KernelThread[] threads = new KernelThread[2];
                  for (int i = 0; i < 2; i++) {
                    int me = i;
                    threads[i] =
                        kernel.spawn(
                            "polite" + i,
                            () -> {
                              wants[me].set(1);
                              while (wants[1 - me].get() == 1) {
                                wants[me].set(0);
                                kernel.condResched();
                                wants[me].set(1);
                              }
                              wants[me].set(0);
                            });
                  }
                  threads[0].join();
                  threads[1].join();
                })
            .mostSteps(500)
            .stopAtFirst()
            .exhaustive();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0).finding().kind()).isEqualTo(Finding.Kind.LIVELOCK);
  }

  @Test
  void spinOnAFlagThatNobodyRaises_isALivelockWithItsCycle() {
    ExplorationResult result =
        Exploration.of(
                kernel -> {
                  SharedWord flag = kernel.word(0);
                  KernelThread spinner =
                      kernel.spawn(
                          "spinner",
                          () -> {
                            while (flag.get() == 0) {
                              kernel.condResched();
                            }
                          });
                  spinner.join();
                })
            .mostSteps(500)
            .exhaustive();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0).finding().report())
        .contains("these repeat:\n  spinner/1 ")
        .contains("yield")
        .contains("read word");
  }

  @Test
  void mutexes_inOppositeOrder_areAViolationOfTheOrderAlready() {
    ExplorationResult result =
        Exploration.of(
                kernel -> {
                  Mutex outer = kernel.mutex(LockClass.KVM_LOCK);
                  Mutex inner = kernel.mutex(LockClass.SLOTS_LOCK);
                  kernel
                      .spawn(
                          "a",
                          () -> {
                            inner.lock();
                            outer.lock();
                          })
                      .join();
                })
            .exhaustive();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0).finding().report()).contains("wrong lock order");
  }

  /** A reader of a table that somebody frees, with a grace period or without. */
  private static Program freeing(boolean waits) {
    return kernel -> {
      SharedWord published = kernel.word(1);
      EntryTable table = kernel.entryTable(0, 0).named("spt");
      KernelThread reader =
          kernel.spawn(
              "reader",
              () -> {
                kernel.rcu().readLock();
                if (published.get() == 1) {
                  table.get(7);
                }
                kernel.rcu().readUnlock();
              });
      published.set(0);
      if (waits) {
        kernel.rcu().call(table::freed);
        kernel.rcu().barrier();
      } else {
        table.freed();
      }
      reader.join();
    };
  }

  @Test
  void aReadAfterAFree_isFound_andAGracePeriodKeepsItOut() {
    ExplorationResult result = Exploration.of(freeing(false)).exhaustive();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0).finding().report())
        .contains("IllegalStateException: use after free: read of spt ");
    assertThat(Exploration.of(freeing(true)).exhaustive().isSound()).isTrue();
  }
}
