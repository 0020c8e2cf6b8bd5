package dev.septum.kernel;

import java.util.concurrent.atomic.AtomicReference;

/** The host runtime: real threads, real locks. */
final class HostKernel implements Kernel {

  private final LockChecker checker = new LockChecker();
  private final HostRcu rcu = new HostRcu(checker);

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new HostRwLock(lockClass, checker);
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new HostLock(lockClass, checker);
  }

  @Override
  public Mutex mutex(LockClass lockClass) {
    return new HostLock(lockClass, checker);
  }

  @Override
  public Rcu rcu() {
    return rcu;
  }

  @Override
  public SharedWord word(long initial) {
    return new HostWord(initial);
  }

  @Override
  public <T> SharedRef<T> ref(T initial) {
    return new HostRef<>(initial);
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    return new HostEntryTable(base, stride);
  }

  @Override
  public GuestMode guestMode() {
    return new HostGuestMode();
  }

  @Override
  public KernelThread spawn(String name, Runnable body) {
    AtomicReference<Throwable> failure = new AtomicReference<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                body.run();
                checker.assertNoneHeld("the end of thread " + name);
              } catch (Throwable t) {
                failure.set(t);
              } finally {
                rcu.threadEnds();
              }
            },
            name);
    thread.setDaemon(true);
    thread.start();
    return () -> {
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("interrupted while waiting for " + name, e);
      }
      Throwable cause = failure.get();
      if (cause != null) {
        throw new IllegalStateException("thread " + name + " failed: " + cause.getMessage(), cause);
      }
    };
  }

  @Override
  @SuppressWarnings("ThreadPriorityCheck") // Yielding is what cond_resched() is for.
  public void condResched() {
    Thread.yield();
  }

  @Override
  public LockChecker locks() {
    return checker;
  }
}
