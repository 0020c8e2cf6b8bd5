package dev.septum.kernel;

/** A sleeping lock ({@code struct mutex}). Not reentrant; never taken under a spinning lock. */
public interface Mutex {

  /** Takes the lock. */
  void lock();

  /** Releases the lock, which the calling thread holds. */
  void unlock();

  /** Checks that the calling thread holds the lock. */
  void assertHeld();
}
