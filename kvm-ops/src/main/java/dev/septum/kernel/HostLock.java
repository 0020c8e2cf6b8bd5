package dev.septum.kernel;

import java.util.concurrent.locks.ReentrantLock;

/** A spin lock or a mutex: on real threads both block. */
final class HostLock implements SpinLock, Mutex {

  private final ReentrantLock lock = new ReentrantLock();
  private final LockClass lockClass;
  private final LockChecker checker;

  HostLock(LockClass lockClass, LockChecker checker) {
    this.lockClass = lockClass;
    this.checker = checker;
  }

  @Override
  public void lock() {
    checker.beforeAcquire(lockClass);
    lock.lock();
    checker.acquired(this, lockClass, LockMode.EXCLUSIVE);
  }

  @Override
  public void unlock() {
    checker.released(this, lockClass, LockMode.EXCLUSIVE);
    lock.unlock();
  }

  @Override
  public void assertHeld() {
    checker.require(lock.isHeldByCurrentThread(), lockClass, "by this thread");
  }
}
