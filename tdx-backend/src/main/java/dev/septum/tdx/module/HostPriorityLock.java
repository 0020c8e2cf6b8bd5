package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.SharedWord;

/**
 * A sharex lock with host priority, in the low 16 bits of a cell: bit 0 exclusive, bit 1
 * HOST_PRIORITY, readers counted above. Modelled on the module's {@code sharex_hp} locks.
 *
 * <p>A host that is told BUSY leaves HOST_PRIORITY behind, and whoever of the host comes next and
 * gets the lock clears it. The module also counts the refused reader until the exclusive holder
 * wipes the count; nobody can see that, so it is left out.
 */
abstract class HostPriorityLock implements TryLock {

  static final long LOCK_BITS = 0xFFFF;

  private static final long EXCLUSIVE = 1;
  private static final long HOST_PRIORITY = 2;
  private static final long ONE_READER = 4;

  /** A lock that has a word of its own. */
  static HostPriorityLock create(Kernel kernel) {
    return new OfWord(kernel.word(0));
  }

  /** The cell whose low bits are the lock. */
  abstract long read();

  /** Stores {@code next} if the cell still is {@code seen}. */
  abstract boolean compareAndSet(long seen, long next);

  @Override
  public final boolean tryLock(LockMode mode) {
    for (; ; ) {
      long seen = read();
      boolean free = isFree(seen, mode);
      long next = free ? taken(seen, mode) : seen | HOST_PRIORITY;
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
    for (; ; ) {
      long seen = read();
      long next =
          mode == LockMode.SHARED
              ? seen - ONE_READER
              : (seen & ~LOCK_BITS) | (seen & HOST_PRIORITY);
      if (compareAndSet(seen, next)) {
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

  private static boolean isFree(long cell, LockMode mode) {
    return mode == LockMode.SHARED
        ? (cell & EXCLUSIVE) == 0
        : (cell & LOCK_BITS & ~HOST_PRIORITY) == 0;
  }

  private static long taken(long cell, LockMode mode) {
    return (cell & ~HOST_PRIORITY) + (mode == LockMode.SHARED ? ONE_READER : EXCLUSIVE);
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
    boolean compareAndSet(long seen, long next) {
      return word.compareAndSet(seen, next);
    }
  }
}
