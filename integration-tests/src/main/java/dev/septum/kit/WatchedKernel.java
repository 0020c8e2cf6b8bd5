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
import java.util.ArrayList;
import java.util.List;

/** A kernel with a note of every lock that a thread takes. */
final class WatchedKernel extends ForwardingKernel {

  private final ThreadLocal<List<LockClass>> taken = ThreadLocal.withInitial(ArrayList::new);

  WatchedKernel(Kernel kernel) {
    super(kernel);
  }

  /** The locks that the calling thread takes while a body runs, in their order. */
  List<LockClass> locksOf(Runnable body) {
    taken.get().clear();
    body.run();
    return List.copyOf(taken.get());
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        super.lock(mode);
        taken.get().add(lockClass);
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ForwardingSpinLock(super.spinLock(lockClass)) {
      @Override
      public void lock() {
        super.lock();
        taken.get().add(lockClass);
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
        taken.get().add(lockClass);
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
