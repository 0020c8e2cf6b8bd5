package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;

/** A lock of the module: it is had at once, or the caller is told BUSY. */
interface TryLock {

  /** Takes the lock on behalf of a SEAMCALL, if it can be had. */
  boolean tryLock(LockMode mode);

  /** Leaves behind what a SEAMCALL leaves that did not get the lock. */
  void refuse();

  /** Gives back what {@link #tryLock} took. */
  void unlock(LockMode mode);
}
