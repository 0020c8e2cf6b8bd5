package dev.septum.it.mutants;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.Rcu;
import dev.septum.kernel.SpinLock;

/** What mutants do instead of what the code does. */
public final class Instead {

  private Instead() {}

  /** Gives up a lock that is taken only now. */
  public static void lockAndUnlock(SpinLock lock) {
    lock.lock();
    lock.unlock();
  }

  /** Stores without looking, and says that the old value was there. */
  public static long store(EntryTable table, int index, long expected, long value) {
    table.set(index, value);
    return expected;
  }

  /** Looks, and then stores if what it saw was right: two steps. */
  public static long lookThenStore(EntryTable table, int index, long expected, long value) {
    long found = table.get(index);
    if (found == expected) {
      table.set(index, value);
    }
    return found;
  }

  /** Looks, and takes nothing. */
  public static long look(EntryTable table, int index, long value) {
    return table.get(index);
  }

  /** Does not wait for those who are inside. */
  public static void atOnce(Rcu rcu, Runnable callback) {
    callback.run();
  }
}
