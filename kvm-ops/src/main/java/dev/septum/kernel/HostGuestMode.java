package dev.septum.kernel;

import static com.google.common.base.Preconditions.checkState;

/** Guest mode on real threads. */
final class HostGuestMode implements GuestMode {

  private boolean inGuest;
  private long entries;
  private volatile boolean exitRequested;

  @Override
  public synchronized void enter() {
    // Counting this as an entry would satisfy a kick that no exit has satisfied.
    checkState(!inGuest, "the vCPU is in the guest already");
    inGuest = true;
    entries++;
  }

  @Override
  public synchronized void leave() {
    inGuest = false;
    exitRequested = false;
    notifyAll();
  }

  @Override
  public synchronized boolean isInGuest() {
    return inGuest;
  }

  @Override
  public boolean isExitRequested() {
    return exitRequested;
  }

  @Override
  public synchronized boolean kickAndWait() {
    if (!inGuest) {
      return false;
    }
    exitRequested = true;
    long seen = entries;
    // The vCPU may leave and enter again before this thread wakes: one exit is enough.
    while (inGuest && entries == seen) {
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("interrupted while kicking a vCPU", e);
      }
    }
    return true;
  }
}
