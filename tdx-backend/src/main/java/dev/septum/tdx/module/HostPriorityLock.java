package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.SharedWord;

/**
 * A sharex lock with host priority, in the low 16 bits of a cell: bit 0 exclusive, bit 1
 * HOST_PRIORITY, readers counted above. Modelled on the module's {@code sharex_hp} locks.
 *
 * <p>A host that is told BUSY leaves HOST_PRIORITY behind, and whoever of the host comes next and
 * gets the lock clears it. A reader is counted at once, and if it is refused stays counted until
 * the exclusive holder wipes the count.
 */
abstract class HostPriorityLock implements TryLock {

  static final long LOCK_BITS = 0xFFFF;

  private static final long EXCLUSIVE = 1;
  private static final long HOST_PRIORITY = 2;
  private static final long ONE_READER = 4;

  /** A lock that has a word of its own. */
  static HostPriorityLock create(Kernel kernel) {
    return new OfWord(kernel.word(0).named("host priority lock"));
  }

  /** The cell whose low bits are the lock. */
  abstract long read();

  /** Stores {@code next} if the cell still is {@code seen}. */
  abstract boolean compareAndSet(long seen, long next);

  /** Adds to the cell and returns the bits of {@code mask}, which are not those of the readers. */
  abstract long addAndGetRest(long delta, long mask);

  @Override
  public final boolean tryLock(LockMode mode) {
    return mode == LockMode.SHARED ? tryLockShared() : tryLockExclusive();
  }

  private boolean tryLockShared() {
    long rest = addAndGetRest(ONE_READER, EXCLUSIVE | HOST_PRIORITY);
    if ((rest & EXCLUSIVE) != 0) {
      refuse();
      return false;
    }
    if ((rest & HOST_PRIORITY) != 0) {
      long seen = read();
      while (!compareAndSet(seen, seen & ~HOST_PRIORITY)) {
        seen = read();
      }
    }
    return true;
  }

  private boolean tryLockExclusive() {
    for (; ; ) {
      long seen = read();
      boolean free = (seen & LOCK_BITS & ~HOST_PRIORITY) == 0;
      long next = free ? (seen & ~HOST_PRIORITY) + EXCLUSIVE : seen | HOST_PRIORITY;
      if (compareAndSet(seen, next)) {
        return free;
      }
    }
  }

  @Override
  public final void refuse() {
    for (; ; ) {
      long seen = read();
      if (compareAndSet(seen, seen | HOST_PRIORITY)) {
        return;
      }
    }
  }

  /** Makes the caller's shared hold exclusive; if others hold it too, the hold is lost. */
  final boolean tryUpgrade() {
    for (; ; ) {
      long seen = read();
      boolean alone = (seen & LOCK_BITS & ~HOST_PRIORITY) == ONE_READER;
      long next = alone ? (seen & ~LOCK_BITS) | EXCLUSIVE : (seen - ONE_READER) | HOST_PRIORITY;
      if (compareAndSet(seen, next)) {
        return alone;
      }
    }
  }

  @Override
  public final void unlock(LockMode mode) {
    if (mode == LockMode.SHARED) {
      addAndGetRest(-ONE_READER, 0);
      return;
    }
    for (; ; ) {
      long seen = read();
      if (compareAndSet(seen, (seen & ~LOCK_BITS) | (seen & HOST_PRIORITY))) {
        return;
      }
    }
  }

  final boolean isHeld() {
    return (read() & LOCK_BITS & ~HOST_PRIORITY) != 0;
  }

  final boolean hasHostPriority() {
    return (read() & HOST_PRIORITY) != 0;
  }

  private static final class OfWord extends HostPriorityLock {

    private final SharedWord word;

    OfWord(SharedWord word) {
      this.word = word;
    }

    @Override
    long read() {
      return word.get();
    }

    @Override
    long addAndGetRest(long delta, long mask) {
      return word.addAndGetRest(delta, mask);
    }

    @Override
    boolean compareAndSet(long seen, long next) {
      return word.compareAndSet(seen, next);
    }
  }
}
