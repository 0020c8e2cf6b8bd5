package dev.septum.kernel;

/** A spin lock ({@code spinlock_t}). Not reentrant; its holder must not sleep. */
public interface SpinLock {

  /** Takes the lock. */
  void lock();

  /** Releases the lock, which the calling thread holds. */
  void unlock();

  /** Checks that the calling thread holds the lock. */
  void assertHeld();
}
