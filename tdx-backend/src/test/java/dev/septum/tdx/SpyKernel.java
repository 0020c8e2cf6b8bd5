package dev.septum.tdx;

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
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A host kernel that counts how often a lock of each class is taken, keeps the spin locks it made,
 * and runs what a test wants to happen right before one is waited for.
 */
final class SpyKernel implements Kernel {

  private final Kernel kernel = Kernel.host();
  private final Map<LockClass, Long> taken = new ConcurrentHashMap<>();
  private final Map<LockMode, Long> rwLocksTaken = new ConcurrentHashMap<>();
  private final Map<LockClass, Runnable> beforeNext = new ConcurrentHashMap<>();
  private final Map<LockClass, List<SpinLock>> spinLocks = new ConcurrentHashMap<>();

  /** How often a lock of each class was taken; classes never taken are not in it. */
  Map<LockClass, Long> taken() {
    return Map.copyOf(taken);
  }

  /** How often a reader-writer lock was taken in that mode. */
  long rwLocksTaken(LockMode mode) {
    return rwLocksTaken.getOrDefault(mode, 0L);
  }

  /** Runs {@code body} once, on the thread that is about to take a lock of this class. */
  void beforeNext(LockClass lockClass, Runnable body) {
    beforeNext.put(lockClass, body);
  }

  /** The spin locks of a class, in the order in which they were made. */
  List<SpinLock> spinLocks(LockClass lockClass) {
    return spinLocks.getOrDefault(lockClass, List.of());
  }

  private void about(LockClass lockClass) {
    @Nullable Runnable body = beforeNext.remove(lockClass);
    if (body != null) {
      body.run();
    }
    taken.merge(lockClass, 1L, Long::sum);
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    SpinLock lock = kernel.spinLock(lockClass);
    SpinLock spy =
        new SpinLock() {
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
    spinLocks.computeIfAbsent(lockClass, c -> new ArrayList<>()).add(spy);
    return spy;
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    RwLock lock = kernel.rwLock(lockClass);
    return new RwLock() {
      @Override
      public void lock(LockMode mode) {
        about(lockClass);
        rwLocksTaken.merge(mode, 1L, Long::sum);
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
  public EntryTable entryTable(long base, long stride) {
    return kernel.entryTable(base, stride);
  }

  @Override
  public GuestMode guestMode() {
    return kernel.guestMode();
  }

  @Override
  public KernelThread spawn(String name, Runnable body) {
    return kernel.spawn(name, body);
  }

  @Override
  public void condResched() {
    kernel.condResched();
  }

  @Override
  public LockChecker locks() {
    return kernel.locks();
  }
}
