package dev.septum.kernel;

/** A reader-writer spin lock ({@code rwlock_t}): {@code mmu_lock} is one. Not reentrant. */
public interface RwLock {

  /** Takes the lock in the given mode; waits while another thread holds it incompatibly. */
  void lock(LockMode mode);

  /** Releases the lock, which the calling thread holds in that mode. */
  void unlock(LockMode mode);

  /** Whether another thread waits for the lock ({@code rwlock_needbreak()}). */
  boolean needBreak();

  /** Checks that the calling thread holds the lock in that mode. */
  void assertHeld(LockMode mode);

  /** Checks that the calling thread holds the lock in either mode. */
  void assertHeld();

  /** Whether the calling thread holds the lock in that mode. */
  boolean isHeld(LockMode mode);
}
