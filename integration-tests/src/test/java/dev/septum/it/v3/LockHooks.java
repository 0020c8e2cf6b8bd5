package dev.septum.it.v3;

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

/** A host kernel in which things happen right before a lock is taken, or after it is released. */
final class LockHooks extends ForwardingKernel {

  private record Hook(int nth, Runnable body) {}

  private final Map<LockClass, Hook> beforeLock = new ConcurrentHashMap<>();
  private final Map<LockClass, Hook> afterUnlock = new ConcurrentHashMap<>();

  LockHooks() {
    super(Kernel.host());
  }

  /** Runs {@code body} on the thread that takes the nth lock of a class from now on; 1 is next. */
  void before(LockClass lockClass, int nth, Runnable body) {
    beforeLock.put(lockClass, new Hook(nth, body));
  }

  /** Runs {@code body} on the thread that does the nth release of a class from now on. */
  void after(LockClass lockClass, int nth, Runnable body) {
    afterUnlock.put(lockClass, new Hook(nth, body));
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        next(beforeLock, lockClass);
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
}
