package dev.septum.lab.defects;

import dev.septum.kernel.EntryTable;
import dev.septum.kernel.ForwardingGuestMode;
import dev.septum.kernel.ForwardingRwLock;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.RwLock;
import dev.septum.kernel.SharedWord;
import dev.septum.lab.run.HookedKernel;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** A hooked kernel on which a demonstration has things happen at further places. */
final class StagedKernel extends HookedKernel {

  private record Countdown(SharedWord left, Runnable body) {}

  private final Map<LockClass, Countdown> afterRelease = new ConcurrentHashMap<>();
  private volatile @Nullable Runnable insideNextTable;
  private volatile Runnable atKick = () -> {};

  /** Runs {@code body} on the thread that takes a lock of this class next, before it waits. */
  void before(LockClass lockClass, Runnable body) {
    before(lockClass, 1, 1, body);
  }

  /** Runs {@code body} on the thread that does the nth release of a class from now on. */
  void afterRelease(LockClass lockClass, int nth, Runnable body) {
    afterRelease.put(lockClass, new Countdown(word(nth), body));
  }

  /**
   * Runs {@code body} where a table of entries is made next. PAMT.ADD makes one while it has the
   * range locked.
   */
  void insideNextTable(Runnable body) {
    insideNextTable = body;
  }

  /** Runs {@code body} whenever a vCPU is kicked. */
  void atKick(Runnable body) {
    atKick = body;
  }

  private void released(LockClass lockClass) {
    Countdown countdown = afterRelease.get(lockClass);
    if (countdown != null && countdown.left().addAndGet(-1) == 0) {
      countdown.body().run();
    }
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void unlock(LockMode mode) {
        super.unlock(mode);
        released(lockClass);
      }
    };
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    Runnable body = insideNextTable;
    if (body != null) {
      insideNextTable = null;
      body.run();
    }
    return super.entryTable(base, stride);
  }

  @Override
  public GuestMode guestMode() {
    return new ForwardingGuestMode(super.guestMode()) {
      @Override
      public boolean kickAndWait() {
        atKick.run();
        return super.kickAndWait();
      }
    };
  }
}
