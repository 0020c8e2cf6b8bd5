package dev.septum.lab.defects;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.ForwardingGuestMode;
import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.ForwardingRwLock;
import dev.septum.kernel.ForwardingSpinLock;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A host kernel on which a demonstration has something happen at a place that others meet by luck,
 * and in which a loop without end is ended and counted.
 */
final class StagedKernel extends ForwardingKernel {

  private record Countdown(SharedWord left, Runnable body) {}

  private final Map<LockClass, Runnable> beforeNext = new ConcurrentHashMap<>();
  private final Map<LockClass, Countdown> afterRelease = new ConcurrentHashMap<>();
  private volatile @Nullable Runnable insideNextTable;
  private volatile Runnable atKick = () -> {};
  private final SharedWord roundsLeft = word(Long.MAX_VALUE);
  private volatile long bound = Long.MAX_VALUE;

  StagedKernel() {
    super(Kernel.host());
  }

  /** Runs {@code body} on the thread that takes a lock of this class next, before it waits. */
  void before(LockClass lockClass, Runnable body) {
    beforeNext.put(lockClass, body);
  }

  /** Runs {@code body} on the thread that does the nth release of a class from now on. */
  void afterRelease(LockClass lockClass, int nth, Runnable body) {
    afterRelease.put(lockClass, new Countdown(word(nth), body));
  }

  /**
   * Runs {@code body} where a table of entries is made next. PAMT.ADD makes one while it has the
   * range locked.
   */
  void insideNextTable(Runnable body) {
    insideNextTable = body;
  }

  /** Runs {@code body} whenever a vCPU is kicked. */
  void atKick(Runnable body) {
    atKick = body;
  }

  /** From now on, as many rounds are let go by: entries of a guest, and faults taken again. */
  void boundRounds(long rounds) {
    bound = rounds;
    roundsLeft.set(rounds);
  }

  private void round() {
    if (roundsLeft.addAndGet(-1) < 0) {
      throw new EndlessRetry(bound);
    }
  }

  private void about(LockClass lockClass) {
    Runnable body = beforeNext.remove(lockClass);
    if (body != null) {
      body.run();
    }
  }

  private void released(LockClass lockClass) {
    Countdown countdown = afterRelease.get(lockClass);
    if (countdown != null && countdown.left().addAndGet(-1) == 0) {
      countdown.body().run();
    }
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        about(lockClass);
        super.lock(mode);
      }

      @Override
      public void unlock(LockMode mode) {
        super.unlock(mode);
        released(lockClass);
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ForwardingSpinLock(super.spinLock(lockClass)) {
      @Override
      public void lock() {
        about(lockClass);
        super.lock();
      }
    };
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    Runnable body = insideNextTable;
    if (body != null) {
      insideNextTable = null;
      body.run();
    }
    return super.entryTable(base, stride);
  }

  @Override
  public GuestMode guestMode() {
    return new ForwardingGuestMode(super.guestMode()) {
      @Override
      public void enter() {
        round();
        super.enter();
      }

      @Override
      public boolean kickAndWait() {
        atKick.run();
        return super.kickAndWait();
      }
    };
  }

  @Override
  public void condResched() {
    round();
    super.condResched();
  }
}
