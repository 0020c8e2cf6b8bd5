package dev.septum.kernel;

import java.util.concurrent.locks.ReentrantReadWriteLock;

/** A reader-writer lock on real threads. */
final class HostRwLock implements RwLock {

  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
  private final LockClass lockClass;
  private final LockChecker checker;

  HostRwLock(LockClass lockClass, LockChecker checker) {
    this.lockClass = lockClass;
    this.checker = checker;
  }

  @Override
  public void lock(LockMode mode) {
    checker.beforeAcquire(lockClass);
    if (mode == LockMode.SHARED) {
      lock.readLock().lock();
    } else {
      lock.writeLock().lock();
    }
    checker.acquired(this, lockClass, mode);
  }

  @Override
  public void unlock(LockMode mode) {
    checker.released(this, lockClass, mode);
    if (mode == LockMode.SHARED) {
      lock.readLock().unlock();
    } else {
      lock.writeLock().unlock();
    }
  }

  @Override
  public boolean needBreak() {
    return lock.hasQueuedThreads();
  }

  @Override
  public void assertHeld(LockMode mode) {
    checker.require(isHeld(mode), lockClass, mode == LockMode.SHARED ? "for read" : "for write");
  }

  @Override
  public void assertHeld() {
    checker.require(
        isHeld(LockMode.SHARED) || isHeld(LockMode.EXCLUSIVE), lockClass, "by this thread");
  }

  @Override
  public boolean isHeld(LockMode mode) {
    return checker.holds(this, mode);
  }
}
