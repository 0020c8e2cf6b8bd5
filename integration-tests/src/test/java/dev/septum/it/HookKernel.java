package dev.septum.it;

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
import java.util.ArrayDeque;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A host kernel in which a test can have things happen right before a thread takes a lock: an
 * interleaving that others only meet by luck.
 */
public final class HookKernel implements Kernel {

  private final Kernel kernel = Kernel.host();
  private final Map<LockClass, Queue<Runnable>> hooks = new ConcurrentHashMap<>();
  private final Map<LockMode, Long> rwLocksTaken = new ConcurrentHashMap<>();

  /**
   * Runs {@code body} on the thread that takes a lock of this class next, before it waits for it; a
   * second hook runs before the lock is taken once more. Hooks are not run inside hooks.
   */
  public void before(LockClass lockClass, Runnable body) {
    hooks.computeIfAbsent(lockClass, c -> new ArrayDeque<>()).add(body);
  }

  /** How often a reader-writer lock was taken in that mode. */
  long rwLocksTaken(LockMode mode) {
    return rwLocksTaken.getOrDefault(mode, 0L);
  }

  private void about(LockClass lockClass) {
    Queue<Runnable> waiting = hooks.remove(lockClass);
    if (waiting == null) {
      return;
    }
    waiting.remove().run();
    if (!waiting.isEmpty()) {
      hooks.put(lockClass, waiting);
    }
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
