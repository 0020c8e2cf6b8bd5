package dev.septum.kernel;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedSet;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What each thread holds, and what it must not do while it holds it (the kernel's lockdep).
 *
 * <p>A violation is a programming error of the emulator or of a backend: it is thrown at once, with
 * the locks held.
 */
public final class LockChecker {

  private record Held(Object lock, LockClass lockClass, LockMode mode, @Nullable LockStack stack) {
    void takeAgain() {
      if (lock instanceof RwLock rwLock) {
        rwLock.lock(mode);
      } else if (lock instanceof SpinLock spinLock) {
        spinLock.lock();
      }
    }

    void giveUp() {
      if (lock instanceof RwLock rwLock) {
        rwLock.unlock(mode);
      } else if (lock instanceof SpinLock spinLock) {
        spinLock.unlock();
      }
    }

    @Override
    public String toString() {
      return lockClass.kernelName() + (mode == LockMode.SHARED ? " (read)" : "");
    }
  }

  private static final class ThreadState {
    final Deque<Held> held = new ArrayDeque<>();
    int rcuDepth;
  }

  /**
   * Where a lock of one class was first taken under one of another: outer class, then inner. Two
   * threads that see an order first may each write; either stack will do.
   */
  private final @Nullable LockStack[][] orders =
      new @Nullable LockStack[LockClass.values().length][LockClass.values().length];

  private boolean recordsStacks;

  private final ThreadLocal<ThreadState> states = ThreadLocal.withInitial(ThreadState::new);

  /** For runtimes: a checker that has seen nothing. */
  public LockChecker() {}

  /** A rule on locks was broken. */
  public static final class LockViolation extends IllegalStateException {
    private static final long serialVersionUID = 1L;

    private final String report;
    private final boolean onSleeping;

    /** For runtimes: what was broken. */
    public LockViolation(String message) {
      this(message, message);
    }

    LockViolation(String message, String report) {
      this(message, report, false);
    }

    private LockViolation(String message, String report, boolean onSleeping) {
      super(message);
      this.report = report;
      this.onSleeping = onSleeping;
    }

    /** Whether somebody might have slept who must not. */
    public boolean isOnSleeping() {
      return onSleeping;
    }

    /** The violation as the kernel prints it, with the stacks of the locks concerned. */
    public String report() {
      return report;
    }
  }

  /** For runtimes: called before a lock is waited for; checks the order against what is held. */
  public void beforeAcquire(LockClass lockClass) {
    ThreadState state = states.get();
    for (Held held : state.held) {
      int order = held.lockClass.compareTo(lockClass);
      if (order >= 0) {
        throw wrongOrder(state, held, lockClass);
      }
      @Nullable LockStack[] inner = orders[held.lockClass.ordinal()];
      if (inner[lockClass.ordinal()] == null) {
        inner[lockClass.ordinal()] = LockStack.here();
      }
    }
    if (lockClass.mayHolderSleep()) {
      mightSleep("taking " + lockClass.kernelName());
    }
  }

  /** For runtimes: the calling thread has the lock now. */
  public void acquired(Object lock, LockClass lockClass, LockMode mode) {
    LockStack stack = recordsStacks ? LockStack.here() : null;
    states.get().held.push(new Held(lock, lockClass, mode, stack));
  }

  /** For runtimes: called before the lock is given up; checks that it is held. */
  public void released(Object lock, LockClass lockClass, LockMode mode) {
    ThreadState state = states.get();
    for (Held held : state.held) {
      if (held.lock == lock && held.mode == mode) {
        state.held.remove(held);
        return;
      }
    }
    throw new LockViolation(
        "releasing %s, which this thread does not hold for %s; it holds %s"
            .formatted(
                lockClass.kernelName(),
                mode == LockMode.SHARED ? "read" : "write",
                describe(state)),
        LockReport.unbalanced(lockClass.kernelName(), entries(state)));
  }

  /** For runtimes: enters an RCU read section; how many the thread was inside before. */
  public int rcuEnter() {
    return states.get().rcuDepth++;
  }

  /** For runtimes: leaves an RCU read section; how many the thread is inside now. */
  public int rcuExit() {
    ThreadState state = states.get();
    if (state.rcuDepth == 0) {
      throw new LockViolation(
          "leaving an RCU read section that was never entered",
          LockReport.rcu("leaves a section that it never entered", entries(state)));
    }
    return --state.rcuDepth;
  }

  /**
   * Remembers from now on where each lock is taken, for the reports. Called before there are
   * threads; costs a walk of the stack at each lock.
   */
  public void recordStacks() {
    recordsStacks = true;
  }

  /** The orders in which classes were taken so far: {@code "mmu_lock -> pamt_lock"}. */
  public ImmutableSortedSet<String> ordersSeen() {
    ImmutableSortedSet.Builder<String> seen = ImmutableSortedSet.naturalOrder();
    for (LockClass outer : LockClass.values()) {
      for (LockClass inner : LockClass.values()) {
        if (orders[outer.ordinal()][inner.ordinal()] != null) {
          seen.add(outer.kernelName() + " -> " + inner.kernelName());
        }
      }
    }
    return seen.build();
  }

  /** Whether the calling thread is inside an RCU read section. */
  public boolean inRcuReadSection() {
    return states.get().rcuDepth > 0;
  }

  /** Checks that the calling thread may sleep here ({@code might_sleep()}). */
  public void mightSleep(String what) {
    ThreadState state = states.get();
    boolean atomic = state.rcuDepth > 0;
    for (Held held : state.held) {
      atomic |= !held.lockClass.mayHolderSleep();
    }
    if (atomic) {
      throw new LockViolation(
          "sleeping function called from atomic context: %s while holding %s"
              .formatted(what, describe(state)),
          LockReport.sleeping(what, entries(state)),
          true);
    }
  }

  /** For runtimes: whether the calling thread holds the lock in that mode. */
  public boolean holds(Object lock, LockMode mode) {
    for (Held held : states.get().held) {
      if (held.lock == lock && held.mode == mode) {
        return true;
      }
    }
    return false;
  }

  /** What a thread holds at one moment. */
  public static final class Snapshot {
    private final ImmutableList<Held> held;
    private final int rcuDepth;

    private Snapshot(ThreadState state) {
      this.held = ImmutableList.copyOf(state.held);
      this.rcuDepth = state.rcuDepth;
    }
  }

  /** What the calling thread holds. */
  public Snapshot snapshot() {
    return new Snapshot(states.get());
  }

  /**
   * Releases what the calling thread has taken since, and takes again what it has released.
   *
   * @param rcu the kernel's
   * @return what had changed, in words; empty if nothing
   */
  public String restore(Snapshot before, Rcu rcu) {
    ThreadState state = states.get();
    boolean isAsBefore =
        state.rcuDepth == before.rcuDepth
            && state.held.size() == before.held.size()
            && ImmutableList.copyOf(state.held).equals(before.held);
    if (isAsBefore) {
      return "";
    }
    List<String> changes = new ArrayList<>();
    for (Held now : ImmutableList.copyOf(state.held)) {
      if (!before.held.contains(now)) {
        changes.add("left " + now + " held");
        now.giveUp();
      }
    }
    if (state.rcuDepth != before.rcuDepth) {
      changes.add("left RCU read sections unbalanced");
      while (state.rcuDepth > before.rcuDepth) {
        rcu.readUnlock();
      }
      while (state.rcuDepth < before.rcuDepth) {
        rcu.readLock();
      }
    }
    for (Held then : before.held.reverse()) {
      if (!state.held.contains(then)) {
        changes.add("released " + then + ", which its caller held");
        then.takeAgain();
      }
    }
    return String.join(", ", changes);
  }

  /** The classes of the locks that the calling thread holds. */
  public ImmutableSortedSet<LockClass> held() {
    ImmutableSortedSet.Builder<LockClass> classes = ImmutableSortedSet.naturalOrder();
    states.get().held.forEach(held -> classes.add(held.lockClass()));
    return classes.build();
  }

  /** Checks that the calling thread holds nothing, as it must on return to user space. */
  public void assertNoneHeld(String where) {
    ThreadState state = states.get();
    if (!state.held.isEmpty() || state.rcuDepth > 0) {
      throw new LockViolation(
          "lock held at " + where + ": " + describe(state),
          LockReport.heldAtExit(where, entries(state)));
    }
  }

  /** For runtimes: a violation unless {@code held} ({@code lockdep_assert_held()}). */
  public void require(boolean held, LockClass lockClass, String how) {
    if (!held) {
      throw new LockViolation(
          lockClass.kernelName() + " is not held " + how,
          LockReport.notHeld(lockClass.kernelName(), how, entries(states.get())));
    }
  }

  /** For runtimes: a violation outside of RCU read sections. */
  public void requireRcuReadSection() {
    if (!inRcuReadSection()) {
      throw new LockViolation(
          "not inside an RCU read section",
          LockReport.rcu("is in no read section", entries(states.get())));
    }
  }

  private LockViolation wrongOrder(ThreadState state, Held held, LockClass wanted) {
    LockReport.Entry now = new LockReport.Entry(wanted.kernelName(), LockStack.here());
    LockReport.Entry before = new LockReport.Entry(held.toString(), held.stack);
    LockStack existing = orders[wanted.ordinal()][held.lockClass.ordinal()];
    String report =
        held.lockClass == wanted
            ? LockReport.recursion(now, before, entries(state))
            : LockReport.inversion(now, before, existing, entries(state));
    return new LockViolation(
        "wrong lock order: taking %s while holding %s"
            .formatted(wanted.kernelName(), describe(state)),
        report);
  }

  private static List<LockReport.Entry> entries(ThreadState state) {
    List<LockReport.Entry> entries = new ArrayList<>();
    state.held.forEach(held -> entries.add(new LockReport.Entry(held.toString(), held.stack)));
    return entries;
  }

  private static String describe(ThreadState state) {
    List<String> names = new ArrayList<>();
    state.held.forEach(h -> names.add(h.toString()));
    if (state.rcuDepth > 0) {
      names.add("rcu_read_lock");
    }
    return names.isEmpty() ? "nothing" : String.join(", ", names);
  }
}
