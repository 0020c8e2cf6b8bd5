package dev.septum.kernel;

/**
 * One host kernel: the factory of every primitive that synchronises.
 *
 * <p>All objects that meet each other (one host, its VMs, its TDX module) come from one kernel.
 */
public interface Kernel {

  /** A kernel on real Java threads and locks. */
  static Kernel host() {
    return new HostKernel();
  }

  /** A reader-writer spin lock ({@code rwlock_t}) of the given class. */
  RwLock rwLock(LockClass lockClass);

  /** A spin lock ({@code spinlock_t}) of the given class. */
  SpinLock spinLock(LockClass lockClass);

  /** A sleeping lock ({@code struct mutex}) of the given class. */
  Mutex mutex(LockClass lockClass);

  /** This kernel's RCU. */
  Rcu rcu();

  /** A shared 64-bit word with the kernel's atomic accesses. */
  SharedWord word(long initial);

  /** A shared reference to an immutable value. */
  <T> SharedRef<T> ref(T initial);

  /**
   * A table of 512 shared 64-bit entries, entry {@code i} being {@code base + i * stride}.
   *
   * @see EntryTable
   */
  EntryTable entryTable(long base, long stride);

  /** Where one vCPU is, inside or outside the guest, and the means to get it out. */
  GuestMode guestMode();

  /** Starts a thread of this kernel; its failure is rethrown by {@link KernelThread#join}. */
  KernelThread spawn(String name, Runnable body);

  /**
   * Gives another thread a chance to run ({@code cond_resched()}): the caller goes on by itself.
   */
  void condResched();

  /** Gives the thread that the caller waits for a chance to run ({@code cpu_relax()}). */
  default void cpuRelax() {
    condResched();
  }

  /**
   * A scheduling point at something that is made of real locks, and that other threads can see: the
   * page allocator, the entry to the TDX module.
   */
  default SchedulingPoint schedulingPoint(String object) {
    return SchedulingPoint.NONE;
  }

  /** Which locks the calling thread holds, and the rules on them. */
  LockChecker locks();
}
