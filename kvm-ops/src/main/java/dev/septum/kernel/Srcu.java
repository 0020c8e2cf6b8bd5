package dev.septum.kernel;

import static com.google.common.base.Preconditions.checkState;

/**
 * Read-copy-update whose readers may sleep ({@code srcu_struct}): {@link #synchronize} waits for
 * every reader that began before it.
 *
 * <p>Made of the kernel's own words, so it is the same in every runtime. One synchronizer at a
 * time: callers hold a mutex.
 */
public final class Srcu {

  private final Kernel kernel;
  private final SharedWord phase;
  private final SharedWord[] readers;

  /** Read sections of the calling thread, which would wait for itself. */
  private final ThreadLocal<Integer> nesting = ThreadLocal.withInitial(() -> 0);

  /** Without readers. */
  public Srcu(Kernel kernel) {
    this.kernel = kernel;
    this.phase = kernel.word(0).named("srcu_idx");
    this.readers =
        new SharedWord[] {
          kernel.word(0).named("srcu_lock_count"), kernel.word(0).named("srcu_lock_count")
        };
  }

  /** Begins a read section; returns what {@link #readUnlock} needs ({@code srcu_read_lock}). */
  public int readLock() {
    int index = (int) phase.get() & 1;
    readers[index].addAndGet(1);
    nesting.set(nesting.get() + 1);
    return index;
  }

  /** Ends the read section that returned {@code index}. */
  public void readUnlock(int index) {
    readers[index].addAndGet(-1);
    nesting.set(nesting.get() - 1);
  }

  /** Waits for the readers there are ({@code synchronize_srcu}). May sleep. */
  public void synchronize() {
    kernel.locks().mightSleep("synchronize_srcu");
    checkState(nesting.get() == 0, "synchronize_srcu inside a read section waits for itself");
    // A reader may have read the phase and not counted itself yet: the second turn waits for it.
    drain();
    drain();
  }

  private void drain() {
    int old = (int) (phase.addAndGet(1) - 1) & 1;
    while (readers[old].get() != 0) {
      kernel.cpuRelax();
    }
  }
}
