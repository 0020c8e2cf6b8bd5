package dev.septum.kit;

import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.ForwardingRwLock;
import dev.septum.kernel.ForwardingSpinLock;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SpinLock;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/** The host runtime, with a note of every lock that is taken. */
final class WatchedKernel extends ForwardingKernel {

  private final Queue<LockClass> taken = new ConcurrentLinkedQueue<>();

  WatchedKernel() {
    super(Kernel.host());
  }

  /** The locks taken while a body runs, in their order. */
  List<LockClass> locksOf(Runnable body) {
    taken.clear();
    body.run();
    return List.copyOf(taken);
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        super.lock(mode);
        taken.add(lockClass);
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ForwardingSpinLock(super.spinLock(lockClass)) {
      @Override
      public void lock() {
        super.lock();
        taken.add(lockClass);
      }
    };
  }

  @Override
  public Mutex mutex(LockClass lockClass) {
    Mutex mutex = super.mutex(lockClass);
    return new Mutex() {
      @Override
      public void lock() {
        mutex.lock();
        taken.add(lockClass);
      }

      @Override
      public void unlock() {
        mutex.unlock();
      }

      @Override
      public void assertHeld() {
        mutex.assertHeld();
      }
    };
  }
}
