package dev.septum.lab.defects;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.Rcu;
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
final class StagedKernel implements Kernel {

  private final Kernel kernel = Kernel.host();
  private final Map<LockClass, Runnable> beforeNext = new ConcurrentHashMap<>();
  private volatile @Nullable Runnable insideNextTable;
  private volatile Runnable atKick = () -> {};
  private final SharedWord roundsLeft = kernel.word(Long.MAX_VALUE);
  private volatile long bound = Long.MAX_VALUE;

  /** Runs {@code body} on the thread that takes a lock of this class next, before it waits. */
  void before(LockClass lockClass, Runnable body) {
    beforeNext.put(lockClass, body);
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

  @Override
  public RwLock rwLock(LockClass lockClass) {
    RwLock lock = kernel.rwLock(lockClass);
    return new RwLock() {
      @Override
      public void lock(LockMode mode) {
        about(lockClass);
        lock.lock(mode);
      }

      @Override
      public void unlock(LockMode mode) {
        lock.unlock(mode);
      }

      @Override
      public boolean needBreak() {
        return lock.needBreak();
      }

      @Override
      public void assertHeld(LockMode mode) {
        lock.assertHeld(mode);
      }

      @Override
      public void assertHeld() {
        lock.assertHeld();
      }

      @Override
      public boolean isHeld(LockMode mode) {
        return lock.isHeld(mode);
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    SpinLock lock = kernel.spinLock(lockClass);
    return new SpinLock() {
      @Override
      public void lock() {
        about(lockClass);
        lock.lock();
      }

      @Override
      public void unlock() {
        lock.unlock();
      }

      @Override
      public void assertHeld() {
        lock.assertHeld();
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
    return kernel.entryTable(base, stride);
  }

  @Override
  public GuestMode guestMode() {
    GuestMode mode = kernel.guestMode();
    return new GuestMode() {
      @Override
      public void enter() {
        round();
        mode.enter();
      }

      @Override
      public void leave() {
        mode.leave();
      }

      @Override
      public boolean isInGuest() {
        return mode.isInGuest();
      }

      @Override
      public boolean isExitRequested() {
        return mode.isExitRequested();
      }

      @Override
      public boolean kickAndWait() {
        atKick.run();
        return mode.kickAndWait();
      }
    };
  }

  @Override
  public void condResched() {
    round();
    kernel.condResched();
  }

  @Override
  public Mutex mutex(LockClass lockClass) {
    return kernel.mutex(lockClass);
  }

  @Override
  public Rcu rcu() {
    return kernel.rcu();
  }

  @Override
  public SharedWord word(long initial) {
    return kernel.word(initial);
  }

  @Override
  public KernelThread spawn(String name, Runnable body) {
    return kernel.spawn(name, body);
  }

  @Override
  public LockChecker locks() {
    return kernel.locks();
  }
}
