package dev.septum.kernel.schedule;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;

/** A small program made from a seed, that says what every read saw and what was left. */
final class RandomProgram implements Program {

  private enum Act {
    GET,
    SET,
    ADD,
    ADD_AND_GET,
    CAS,
    ENTRY_GET,
    ENTRY_SET,
    LOCKED,
    READ_LOCKED,
    WRITE_LOCKED,
    CHOOSE,
    YIELD,
    RCU_READ,
    RCU_CALL
  }

  private static final Act[] ACTS = Act.values();

  private record Op(Act act, int which) {}

  private final List<List<Op>> threads = new ArrayList<>();
  private final Set<String> outcomes;

  RandomProgram(long seed, int threadCount, int ops, Set<String> outcomes) {
    this.outcomes = outcomes;
    Random random = new Random(seed);
    for (int t = 0; t < threadCount; t++) {
      List<Op> list = new ArrayList<>();
      for (int i = 0; i < ops; i++) {
        list.add(new Op(ACTS[random.nextInt(ACTS.length)], random.nextInt(2)));
      }
      threads.add(list);
    }
  }

  @Override
  public void run(ScheduledKernel kernel) {
    World world = new World(kernel);
    List<KernelThread> running = new ArrayList<>();
    List<StringBuilder> seen = new ArrayList<>();
    for (int t = 0; t < threads.size(); t++) {
      int me = t;
      StringBuilder mine = new StringBuilder();
      seen.add(mine);
      running.add(
          kernel.spawn(
              "t" + t, () -> threads.get(me).forEach(op -> world.run(op, 10 * me + 1, mine))));
    }
    running.forEach(KernelThread::join);
    kernel.rcu().barrier();
    outcomes.add(seen + " " + world);
  }

  private static final class World {
    private final ScheduledKernel kernel;
    private final SharedWord[] words;
    private final EntryTable table;
    private final SpinLock[] locks;
    private final RwLock rwLock;
    private final long[] plain = new long[3];

    World(ScheduledKernel kernel) {
      this.kernel = kernel;
      words = new SharedWord[] {kernel.word(0), kernel.word(0)};
      table = kernel.entryTable(0, 0);
      locks =
          new SpinLock[] {
            kernel.spinLock(LockClass.PAMT_LOCK),
            kernel.spinLock(LockClass.PREALLOC_SPLIT_CACHE_LOCK)
          };
      rwLock = kernel.rwLock(LockClass.MMU_LOCK);
    }

    void run(Op op, long value, StringBuilder seen) {
      int which = op.which();
      switch (op.act()) {
        case GET -> seen.append(words[which].get()).append(' ');
        case SET -> words[which].set(value);
        case ADD -> words[which].add(value);
        case ADD_AND_GET -> seen.append(words[which].addAndGet(value)).append(' ');
        case CAS -> seen.append(words[which].compareAndSet(0, value)).append(' ');
        case ENTRY_GET -> seen.append(table.get(which)).append(' ');
        case ENTRY_SET -> table.set(which, value);
        case LOCKED -> {
          locks[which].lock();
          plain[which] = 3 * plain[which] + value;
          words[which].add(value);
          locks[which].unlock();
        }
        case READ_LOCKED -> {
          rwLock.lock(LockMode.SHARED);
          seen.append(plain[2]).append(rwLock.needBreak()).append(' ');
          rwLock.unlock(LockMode.SHARED);
        }
        case WRITE_LOCKED -> {
          rwLock.lock(LockMode.EXCLUSIVE);
          plain[2] = 3 * plain[2] + value;
          rwLock.unlock(LockMode.EXCLUSIVE);
        }
        case CHOOSE -> seen.append(kernel.choose("coin", 2)).append(' ');
        case YIELD -> kernel.condResched();
        case RCU_READ -> {
          kernel.rcu().readLock();
          seen.append(words[which].get()).append(' ');
          kernel.rcu().readUnlock();
        }
        case RCU_CALL -> kernel.rcu().call(() -> words[which].set(-value));
      }
    }

    @Override
    public String toString() {
      return words[0].get()
          + " "
          + words[1].get()
          + " "
          + table.get(0)
          + " "
          + table.get(1)
          + " "
          + plain[0]
          + " "
          + plain[1]
          + " "
          + plain[2];
    }
  }
}
