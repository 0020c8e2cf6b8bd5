package dev.septum.mmu;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.ForwardingEntryTable;
import dev.septum.kernel.ForwardingKernel;
import dev.septum.kernel.ForwardingRwLock;
import dev.septum.kernel.ForwardingSpinLock;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SpinLock;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * A host kernel in which a test comes in where another thread could: each hook runs once, on the
 * thread that passes its place first.
 */
final class TestKernel extends ForwardingKernel {

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

  private final Hook beforeBreakCheck = new Hook();
  private final Hook afterSpinUnlock = new Hook();
  private final Hook afterMmuUnlock = new Hook();
  private final Hook beforeExchange = new Hook();
  private final Hook afterEvent = new Hook();
  private volatile String awaitedEvent = "";
  private volatile boolean breakWanted;

  TestKernel() {
    super(Kernel.host());
  }

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
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void unlock(LockMode mode) {
        super.unlock(mode);
        afterMmuUnlock.run();
      }

      @Override
      public boolean needBreak() {
        beforeBreakCheck.run();
        boolean wanted = breakWanted;
        breakWanted = false;
        return wanted || super.needBreak();
      }
    };
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    return new ForwardingSpinLock(super.spinLock(lockClass)) {
      @Override
      public void unlock() {
        super.unlock();
        afterSpinUnlock.run();
      }
    };
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    return new ForwardingEntryTable(super.entryTable(base, stride)) {
      @Override
      public long compareAndExchange(int index, long expected, long value) {
        beforeExchange.run();
        return super.compareAndExchange(index, expected, value);
      }

      @Override
      public long getAndBitwiseAnd(int index, long mask) {
        beforeExchange.run();
        return super.getAndBitwiseAnd(index, mask);
      }
    };
  }
}
