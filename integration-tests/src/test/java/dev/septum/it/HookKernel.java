package dev.septum.it;

import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.ForwardingRwLock;
import dev.septum.kernel.ForwardingSpinLock;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SpinLock;
import java.util.ArrayDeque;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A host kernel in which a test can have things happen right before a thread takes a lock: an
 * interleaving that others only meet by luck.
 */
public final class HookKernel extends ForwardingKernel {

  private final Map<LockClass, Queue<Runnable>> hooks = new ConcurrentHashMap<>();
  private final Map<LockMode, Long> rwLocksTaken = new ConcurrentHashMap<>();

  public HookKernel() {
    super(Kernel.host());
  }

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
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        about(lockClass);
        rwLocksTaken.merge(mode, 1L, Long::sum);
        super.lock(mode);
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
}
