package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.septum.kernel.LockChecker.LockViolation;
import dev.septum.kernel.schedule.Exploration;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What the lock checker says, in the host runtime and in the scheduled one. */
class LockReportTest {

  /** Gives a body a kernel of each runtime. */
  static Stream<Named<Consumer<Consumer<Kernel>>>> runtimes() {
    return Stream.of(
        Named.of("host", body -> body.accept(Kernel.host())),
        Named.of(
            "scheduled",
            body ->
                assertThat(Exploration.of(body::accept).exhaustive().failures())
                    .as("failures")
                    .isEmpty()));
  }

  private static LockViolation violation(Runnable body) {
    return catchThrowableOfType(LockViolation.class, body::run);
  }

  /** Takes the PAMT lock under the cache's, as the order has it. */
  private static void inOrder(SpinLock cacheLock, SpinLock pamtLock) {
    cacheLock.lock();
    pamtLock.lock();
    pamtLock.unlock();
    cacheLock.unlock();
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void anInversion_thatNeverDeadlocked_showsBothAcquisitions(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          kernel.locks().recordStacks();
          SpinLock cacheLock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
          SpinLock pamtLock = kernel.spinLock(LockClass.PAMT_LOCK);
          inOrder(cacheLock, pamtLock);
          assertThat(kernel.locks().ordersSeen())
              .containsExactly("prealloc_split_cache_lock -> pamt_lock");
          pamtLock.lock();

          String report = violation(cacheLock::lock).report();

          pamtLock.unlock();
          assertThat(report)
              .contains("WARNING: possible circular locking dependency detected")
              .contains("is trying to acquire lock:\n (prealloc_split_cache_lock), at:\n")
              .contains("holding lock:\n (pamt_lock), at:\n  LockReportTest.lambda$")
              .contains(
                  "-> #1 (pamt_lock) after (prealloc_split_cache_lock), first seen at:\n"
                      + "  LockReportTest.inOrder+")
              .contains("*** DEADLOCK ***")
              .contains("1 lock held by " + Thread.currentThread().getName());
        });
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void anInversion_beforeTheOrderWasSeen_saysWhoseOrderItIs(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          SpinLock cacheLock = kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
          SpinLock pamtLock = kernel.spinLock(LockClass.PAMT_LOCK);
          pamtLock.lock();
          String report = violation(cacheLock::lock).report();
          pamtLock.unlock();
          assertThat(report)
              .contains("the order is that of the lock classes; nobody has taken the locks in it")
              .contains("(pamt_lock), at:\n  (stacks were not recorded)");
        });
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void aLockTakenTwice_isRecursion(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          SpinLock lock = kernel.spinLock(LockClass.PAMT_LOCK);
          lock.lock();
          String report = violation(lock::lock).report();
          lock.unlock();
          assertThat(report).contains("WARNING: possible recursive locking detected");
        });
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void sleepingWhileAtomic_showsWhereTheLockWasTaken(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          kernel.locks().recordStacks();
          RwLock mmuLock = kernel.rwLock(LockClass.MMU_LOCK);
          Mutex slotsLock = kernel.mutex(LockClass.SLOTS_LOCK);
          mmuLock.lock(LockMode.SHARED);
          String report = violation(() -> kernel.locks().mightSleep("waiting")).report();
          assertThat(violation(slotsLock::lock)).isNotNull();
          mmuLock.unlock(LockMode.SHARED);
          assertThat(report)
              .contains("BUG: sleeping function called from invalid context")
              .contains("waiting in ")
              .contains(" #0: (mmu_lock (read)), at:\n  LockReportTest.lambda$");
        });
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void unlockOfWhatIsNotHeld_isBadBalance(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          SpinLock lock = kernel.spinLock(LockClass.PAMT_LOCK);
          assertThat(violation(lock::unlock).report())
              .contains("WARNING: bad unlock balance detected!")
              .contains("is trying to release lock (pamt_lock) at:\n")
              .contains("  LockReportTest.violation+")
              .contains("no locks held by ");
        });
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void aLockHeldAtExit_isNamedWithItsStack(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          kernel.locks().recordStacks();
          SpinLock lock = kernel.spinLock(LockClass.PAMT_LOCK);
          lock.lock();
          String report = violation(() -> kernel.locks().assertNoneHeld("exit")).report();
          lock.unlock();
          assertThat(report)
              .contains("WARNING: lock held when returning to user space!")
              .contains(" #0: (pamt_lock), at:\n  LockReportTest.lambda$");
        });
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void aLockThatIsNeeded_andNotHeld_isNamed(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          SpinLock lock = kernel.spinLock(LockClass.PAMT_LOCK);
          assertThat(violation(lock::assertHeld).report())
              .contains("WARNING: lockdep_assert_held(pamt_lock)")
              .contains("does not hold lock (pamt_lock) by this thread, at:\n")
              .contains("  LockReportTest.violation+");
        });
  }

  @ParameterizedTest
  @MethodSource("runtimes")
  void rcu_outsideOfASection_isSuspicious(Consumer<Consumer<Kernel>> runtime) {
    runtime.accept(
        kernel -> {
          Rcu rcu = kernel.rcu();
          assertThat(violation(rcu::assertReadSection).report())
              .contains("WARNING: suspicious RCU usage")
              .contains(" is in no read section, at:\n")
              .contains("  LockReportTest.violation+");
          assertThat(violation(rcu::readUnlock).report())
              .contains("WARNING: suspicious RCU usage")
              .contains(" leaves a section that it never entered, at:\n");
        });
  }
}
