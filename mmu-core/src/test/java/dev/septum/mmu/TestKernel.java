package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.Rcu;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * A host kernel in which a test comes in where another thread could: each hook runs once, on the
 * thread that passes its place first.
 */
final class TestKernel implements Kernel {

  private static final class Hook {
    private final AtomicReference<@Nullable Runnable> body = new AtomicReference<>();

    void set(Runnable newBody) {
      body.set(newBody);
    }

    void run() {
      Runnable once = body.getAndSet(null);
      if (once != null) {
        once.run();
      }
    }
  }

  private final Kernel host = Kernel.host();
  private final Hook beforeBreakCheck = new Hook();
  private final Hook afterSpinUnlock = new Hook();
  private final Hook afterMmuUnlock = new Hook();
  private final Hook beforeExchange = new Hook();
  private final Hook afterEvent = new Hook();
  private volatile String awaitedEvent = "";
  private volatile boolean breakWanted;

  /** mmu_lock still held, after a walk read its entry and before it changes it. */
  void onBreakCheck(Runnable body) {
    beforeBreakCheck.set(body);
  }

  /** The next walk that has got on since it last yielded must; the body runs while it does. */
  void onYield(Runnable body) {
    onBreakCheck(
        () -> {
          breakWanted = true;
          afterMmuUnlock.set(body);
        });
  }

  /** mmu_lock has just been dropped. */
  void onMmuUnlock(Runnable body) {
    afterMmuUnlock.set(body);
  }

  /** tdp_mmu_pages_lock has just been dropped. */
  void onPagesUnlock(Runnable body) {
    afterSpinUnlock.set(body);
  }

  /** Before the next exchange of a table entry, or of one of its bits. */
  void onExchange(Runnable body) {
    beforeExchange.set(body);
  }

  /** The next trace event of that name was left. */
  void onEvent(String name, Runnable body) {
    awaitedEvent = name;
    afterEvent.set(body);
  }

  void event(String name) {
    if (name.equals(awaitedEvent)) {
      afterEvent.run();
    }
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    RwLock lock = host.rwLock(lockClass);
    return new RwLock() {
      @Override
      public void lock(LockMode mode) {
        lock.lock(mode);
      }

      @Override
      public void unlock(LockMode mode) {
        lock.unlock(mode);
        afterMmuUnlock.run();
      }

      @Override
      public boolean needBreak() {
        beforeBreakCheck.run();
        boolean wanted = breakWanted;
        breakWanted = false;
        return wanted || lock.needBreak();
      }

      @Override
      public void assertHeld(LockMode mode) {
        lock.assertHeld(mode);
      }

      @Override
      public void assertHeld() {
        lock.assertHeld();
      }

      @Override
      public boolean isHeld(LockMode mode) {
        return lock.isHeld(mode);
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    SpinLock lock = host.spinLock(lockClass);
    return new SpinLock() {
      @Override
      public void lock() {
        lock.lock();
      }

      @Override
      public void unlock() {
        lock.unlock();
        afterSpinUnlock.run();
      }

      @Override
      public void assertHeld() {
        lock.assertHeld();
      }
    };
  }

  @Override
  public Mutex mutex(LockClass lockClass) {
    return host.mutex(lockClass);
  }

  @Override
  public Rcu rcu() {
    return host.rcu();
  }

  @Override
  public SharedWord word(long initial) {
    return host.word(initial);
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    EntryTable table = host.entryTable(base, stride);
    return new EntryTable() {
      @Override
      public long get(int index) {
        return table.get(index);
      }

      @Override
      public void set(int index, long value) {
        table.set(index, value);
      }

      @Override
      public long getAndSet(int index, long value) {
        return table.getAndSet(index, value);
      }

      @Override
      public long compareAndExchange(int index, long expected, long value) {
        beforeExchange.run();
        return table.compareAndExchange(index, expected, value);
      }

      @Override
      public long getAndBitwiseAnd(int index, long mask) {
        beforeExchange.run();
        return table.getAndBitwiseAnd(index, mask);
      }

      @Override
      public long addAndGet(int index, long delta) {
        return table.addAndGet(index, delta);
      }

      @Override
      public boolean isUniform() {
        return table.isUniform();
      }
    };
  }

  @Override
  public GuestMode guestMode() {
    return host.guestMode();
  }

  @Override
  public KernelThread spawn(String name, Runnable body) {
    return host.spawn(name, body);
  }

  @Override
  public void condResched() {
    host.condResched();
  }

  @Override
  public LockChecker locks() {
    return host.locks();
  }
}
