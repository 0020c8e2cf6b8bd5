package dev.septum.tdx.module;

import dev.septum.kernel.EntryTable;

/**
 * One entry in its table: where a walk ended.
 *
 * <p>The entry lock has one holder, host or guest. Only its holder rewrites the entry; others may
 * set TDHP at any time, so every write here is a compare-exchange that keeps it.
 *
 * @param gpa the first GPA that the entry covers
 */
record SeptSlot(EntryTable table, int index, int level, long gpa) {

  /** How a guest's attempt to lock an entry ended. */
  enum GuestLock {
    TAKEN,
    BUSY,
    BUSY_HOST_PRIORITY
  }

  long entry() {
    return table.get(index);
  }

  SeptState state() {
    return SeptState.of(entry());
  }

  long hpa() {
    return SeptEntry.hpa(entry(), level);
  }

  /** Locks the entry for the host and clears TDHP; if it is taken, sets TDHP instead. */
  boolean tryLockByHost() {
    for (; ; ) {
      long seen = entry();
      boolean free = !SeptEntry.isLocked(seen);
      long next =
          free
              ? (seen & ~SeptEntry.HOST_PRIORITY) | SeptEntry.LOCK
              : seen | SeptEntry.HOST_PRIORITY;
      if (table.compareAndExchange(index, seen, next) == seen) {
        return free;
      }
    }
  }

  /** Sets TDHP, as a host does that finds the entry locked. */
  void refuseHost() {
    for (; ; ) {
      long seen = entry();
      if (table.compareAndExchange(index, seen, seen | SeptEntry.HOST_PRIORITY) == seen) {
        return;
      }
    }
  }

  /** Locks the entry for the guest, unless it is taken or a host wants it. */
  GuestLock tryLockByGuest() {
    for (; ; ) {
      long seen = entry();
      if (SeptEntry.isLocked(seen)) {
        return GuestLock.BUSY;
      }
      if ((seen & SeptEntry.HOST_PRIORITY) != 0) {
        return GuestLock.BUSY_HOST_PRIORITY;
      }
      if (table.compareAndExchange(index, seen, seen | SeptEntry.LOCK) == seen) {
        return GuestLock.TAKEN;
      }
    }
  }

  void unlock() {
    table.getAndBitwiseAnd(index, ~SeptEntry.LOCK);
  }

  /** Rewrites the entry that the caller has locked; it stays locked, and TDHP stays as it is. */
  void write(long value) {
    for (; ; ) {
      long seen = entry();
      if (!SeptEntry.isLocked(seen)) {
        throw new IllegalStateException("S-EPT entry rewritten without its lock: " + this);
      }
      long next = value | SeptEntry.LOCK | (seen & SeptEntry.HOST_PRIORITY);
      if (table.compareAndExchange(index, seen, next) == seen) {
        return;
      }
    }
  }

  /** Rewrites an entry that no lock protects but the exclusive TDR. */
  void writeUnlocked(long value) {
    table.set(index, value);
  }
}
