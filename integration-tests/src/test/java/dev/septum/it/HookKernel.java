package dev.septum.it;

import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.ForwardingRwLock;
import dev.septum.kernel.ForwardingSpinLock;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SpinLock;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A host kernel in which a test can have things happen right before a lock is taken, or right after
 * it is released: an interleaving that others only meet by luck.
 */
public final class HookKernel extends ForwardingKernel {

  private record Hook(int nth, Runnable body) {}

  private final Map<LockClass, Hook> beforeLock = new ConcurrentHashMap<>();
  private final Map<LockClass, Hook> afterUnlock = new ConcurrentHashMap<>();
  private final Map<LockMode, Long> rwLocksTaken = new ConcurrentHashMap<>();

  public HookKernel() {
    super(Kernel.host());
  }

  /** Runs {@code body} on the thread that takes a lock of this class next, before it waits. */
  public void before(LockClass lockClass, Runnable body) {
    before(lockClass, 1, body);
  }

  /**
   * Runs {@code body} on the thread that takes the nth lock of a class from now on; 1 is next. One
   * hook waits for each class, and none while a body runs.
   */
  public void before(LockClass lockClass, int nth, Runnable body) {
    beforeLock.put(lockClass, new Hook(nth, body));
  }

  /** The same, with the body on a thread of its own that ends before the lock is taken. */
  void otherThreadBefore(LockClass lockClass, int nth, Runnable body) {
    before(lockClass, nth, () -> spawn("other", body).join());
  }

  /** Runs {@code body} on the thread that does the nth release of a class from now on. */
  void after(LockClass lockClass, int nth, Runnable body) {
    afterUnlock.put(lockClass, new Hook(nth, body));
  }

  /** How often a reader-writer lock was taken in that mode. */
  long rwLocksTaken(LockMode mode) {
    return rwLocksTaken.getOrDefault(mode, 0L);
  }

  private static void next(Map<LockClass, Hook> hooks, LockClass lockClass) {
    Hook hook = hooks.remove(lockClass);
    if (hook == null) {
      return;
    }
    if (hook.nth() > 1) {
      hooks.put(lockClass, new Hook(hook.nth() - 1, hook.body()));
    } else {
      hook.body().run();
    }
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        next(beforeLock, lockClass);
        rwLocksTaken.merge(mode, 1L, Long::sum);
        super.lock(mode);
      }

      @Override
      public void unlock(LockMode mode) {
        super.unlock(mode);
        next(afterUnlock, lockClass);
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ForwardingSpinLock(super.spinLock(lockClass)) {
      @Override
      public void lock() {
        next(beforeLock, lockClass);
        super.lock();
      }

      @Override
      public void unlock() {
        super.unlock();
        next(afterUnlock, lockClass);
      }
    };
  }
}
