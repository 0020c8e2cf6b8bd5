package dev.septum.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.septum.kernel.LockChecker.LockViolation;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class RcuTest {

  private final Kernel kernel = Kernel.host();
  private final Rcu rcu = kernel.rcu();
  private final List<String> ran = new CopyOnWriteArrayList<>();

  @AfterEach
  void nothingIsLeft() {
    rcu.barrier();
    kernel.locks().assertNoneHeld("the end of the test");
  }

  @Test
  void callback_withoutReaders_runsAtOnce() {
    rcu.call(() -> ran.add("freed"));

    assertThat(ran).containsExactly("freed");
  }

  @Test
  void callback_readerOpen_waitsUntilItLeaves() {
    Gate inside = new Gate();
    KernelThread reader = spawnReader(inside);
    inside.awaitArrival();

    rcu.call(() -> ran.add("freed"));
    assertThat(ran).isEmpty();
    inside.open();
    reader.join();

    assertThat(ran).containsExactly("freed");
  }

  @Test
  void callback_readerThatCameLater_isNotWaitedFor() {
    Gate first = new Gate();
    Gate second = new Gate();
    KernelThread older = spawnReader(first);
    first.awaitArrival();
    rcu.call(() -> ran.add("freed"));
    KernelThread younger = spawnReader(second);
    second.awaitArrival();
    rcu.call(() -> ran.add("freed later"));

    first.open();
    older.join();
    assertThat(ran).containsExactly("freed");
    second.open();
    younger.join();

    assertThat(ran).containsExactly("freed", "freed later");
  }

  @Test
  void callback_queuedInsideASection_waitsForThatVerySection() {
    rcu.readLock();
    rcu.call(() -> ran.add("freed"));
    assertThat(ran).isEmpty();

    rcu.readUnlock();

    assertThat(ran).containsExactly("freed");
  }

  @Test
  void nestedSections_endWithTheOutermost() {
    rcu.readLock();
    rcu.readLock();
    rcu.call(() -> ran.add("freed"));

    rcu.readUnlock();
    rcu.assertReadSection();
    assertThat(ran).isEmpty();
    rcu.readUnlock();

    assertThat(ran).containsExactly("freed");
    assertThatExceptionOfType(LockViolation.class)
        .isThrownBy(rcu::assertReadSection)
        .withMessage("not inside an RCU read section");
  }

  @Test
  void callback_thatQueuesAnother_seesItRun() {
    rcu.readLock();
    rcu.call(() -> rcu.call(() -> ran.add("second")));
    rcu.readUnlock();
    rcu.barrier();

    assertThat(ran).containsExactly("second");
  }

  @Test
  void callback_thatFails_doesNotHoldUpTheOthers() {
    rcu.readLock();
    rcu.call(
        () -> {
          throw new IllegalStateException("broken callback");
        });
    rcu.call(() -> ran.add("freed"));

    assertThatIllegalStateException().isThrownBy(rcu::readUnlock).withMessage("broken callback");
    rcu.barrier();

    assertThat(ran).containsExactly("freed");
  }

  @Test
  void barrier_waitsForTheReaderAndTheCallback() {
    Gate inside = new Gate();
    KernelThread reader = spawnReader(inside);
    inside.awaitArrival();
    rcu.call(() -> ran.add("freed"));
    KernelThread waiter =
        kernel.spawn(
            "barrier",
            () -> {
              rcu.barrier();
              ran.add("barrier");
            });
    assertThat(ran).isEmpty();

    inside.open();
    reader.join();
    waiter.join();

    assertThat(ran).containsExactly("freed", "barrier");
  }

  @Test
  void barrier_callbackStillRunningElsewhere_waitsForItsEnd() {
    Gate running = new Gate();
    KernelThread caller =
        kernel.spawn(
            "caller",
            () ->
                rcu.call(
                    () -> {
                      running.pass();
                      ran.add("freed");
                    }));
    running.awaitArrival();
    KernelThread waiter =
        kernel.spawn(
            "barrier",
            () -> {
              rcu.barrier();
              ran.add("barrier");
            });

    running.open();
    caller.join();
    waiter.join();

    assertThat(ran).containsExactly("freed", "barrier");
  }

  @Test
  void barrier_insideASection_isAViolation() {
    rcu.readLock();
    assertThatExceptionOfType(LockViolation.class)
        .isThrownBy(rcu::barrier)
        .withMessage(
            "sleeping function called from atomic context:"
                + " rcu_barrier while holding rcu_read_lock");
    rcu.readUnlock();
  }

  @Test
  void readUnlock_withoutReadLock_isAViolation() {
    assertThatExceptionOfType(LockViolation.class)
        .isThrownBy(rcu::readUnlock)
        .withMessage("leaving an RCU read section that was never entered");
  }

  @Test
  void callbacks_fromManyThreads_allRunOnceAndNeverUnderAReader() {
    AtomicReference<AtomicInteger> shared = new AtomicReference<>(new AtomicInteger());
    AtomicInteger freed = new AtomicInteger();
    List<KernelThread> threads = new ArrayList<>();
    for (int t = 0; t < 4; t++) {
      threads.add(
          kernel.spawn(
              "thread " + t,
              () -> {
                for (int i = 0; i < 500; i++) {
                  rcu.readLock();
                  AtomicInteger seen = shared.get();
                  assertThat(seen).hasValue(0);
                  kernel.condResched();
                  assertThat(seen).as("freed under a reader").hasValue(0);
                  rcu.readUnlock();
                  AtomicInteger old = shared.getAndSet(new AtomicInteger());
                  rcu.call(
                      () -> {
                        old.incrementAndGet();
                        freed.incrementAndGet();
                      });
                }
              }));
    }
    threads.forEach(KernelThread::join);
    rcu.barrier();

    assertThat(freed).hasValue(4 * 500);
  }

  @Test
  void threadThatEndsInsideASection_failsAndHoldsNobodyUp() {
    KernelThread thread = kernel.spawn("careless", rcu::readLock);
    assertThatIllegalStateException()
        .isThrownBy(thread::join)
        .withMessage(
            "thread careless failed: lock held at the end of thread careless: rcu_read_lock");

    rcu.call(() -> ran.add("freed"));

    assertThat(ran).containsExactly("freed");
  }

  private KernelThread spawnReader(Gate inside) {
    return kernel.spawn(
        "reader",
        () -> {
          rcu.readLock();
          inside.pass();
          rcu.readUnlock();
        });
  }
}
