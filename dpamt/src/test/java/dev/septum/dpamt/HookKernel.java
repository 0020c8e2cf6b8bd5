package dev.septum.dpamt;

import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.ForwardingSpinLock;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.SpinLock;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * A host kernel in which a test can have things happen on a thread that is about to take a spin
 * lock: the other side of a race, at the one place where it matters.
 */
final class HookKernel extends ForwardingKernel {

  private final ConcurrentLinkedQueue<Runnable> hooks = new ConcurrentLinkedQueue<>();

  HookKernel() {
    super(Kernel.host());
  }

  /** Runs {@code body} once, before the next spin lock is taken. */
  void beforeNextLock(Runnable body) {
    hooks.add(body);
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ForwardingSpinLock(super.spinLock(lockClass)) {
      @Override
      public void lock() {
        Runnable hook = hooks.poll();
        if (hook != null) {
          hook.run();
        }
        super.lock();
      }
    };
  }
}
