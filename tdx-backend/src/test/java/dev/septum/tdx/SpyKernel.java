package dev.septum.tdx;

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
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A host kernel that counts how often a lock of each class is taken, keeps the spin locks it made,
 * and runs what a test wants to happen right before one is waited for, or a table changes.
 */
final class SpyKernel extends ForwardingKernel {

  private final Map<LockClass, Long> taken = new ConcurrentHashMap<>();
  private final Map<LockMode, Long> rwLocksTaken = new ConcurrentHashMap<>();
  private final Map<LockClass, Runnable> beforeNext = new ConcurrentHashMap<>();
  private final Map<LockClass, List<SpinLock>> spinLocks = new ConcurrentHashMap<>();

  private volatile @Nullable Runnable beforeNextTable;
  private volatile @Nullable Runnable beforeNextExchange;

  SpyKernel() {
    super(Kernel.host());
  }

  /** How often a lock of each class was taken; classes never taken are not in it. */
  Map<LockClass, Long> taken() {
    return Map.copyOf(taken);
  }

  /** How often a reader-writer lock was taken in that mode. */
  long rwLocksTaken(LockMode mode) {
    return rwLocksTaken.getOrDefault(mode, 0L);
  }

  /** Runs {@code body} once, on the thread that is about to take a lock of this class. */
  void beforeNext(LockClass lockClass, Runnable body) {
    beforeNext.put(lockClass, body);
  }

  /** The spin locks of a class, in the order in which they were made. */
  List<SpinLock> spinLocks(LockClass lockClass) {
    return spinLocks.getOrDefault(lockClass, List.of());
  }

  /** Runs {@code body} once, on the thread that makes a table next with mmu_lock held. */
  void beforeNextTable(Runnable body) {
    beforeNextTable = body;
  }

  /** Runs {@code body} once, on the thread that exchanges an entry next with mmu_lock held. */
  void beforeNextExchange(Runnable body) {
    beforeNextExchange = body;
  }

  private boolean holdsMmuLock() {
    return locks().held().contains(LockClass.MMU_LOCK);
  }

  @Override
  public EntryTable entryTable(long base, long stride) {
    Runnable body = beforeNextTable;
    if (body != null && holdsMmuLock()) {
      beforeNextTable = null;
      body.run();
    }
    return new ForwardingEntryTable(super.entryTable(base, stride)) {
      @Override
      public long compareAndExchange(int index, long expected, long value) {
        Runnable before = beforeNextExchange;
        if (before != null && holdsMmuLock()) {
          beforeNextExchange = null;
          before.run();
        }
        return super.compareAndExchange(index, expected, value);
      }
    };
  }

  private void about(LockClass lockClass) {
    @Nullable Runnable body = beforeNext.remove(lockClass);
    if (body != null) {
      body.run();
    }
    taken.merge(lockClass, 1L, Long::sum);
  }

  @Override
  public SpinLock spinLock(LockClass lockClass) {
    SpinLock spy =
        new ForwardingSpinLock(super.spinLock(lockClass)) {
          @Override
          public void lock() {
            about(lockClass);
            super.lock();
          }
        };
    spinLocks.computeIfAbsent(lockClass, c -> new ArrayList<>()).add(spy);
    return spy;
  }

  @Override
  public RwLock rwLock(LockClass lockClass) {
    return new ForwardingRwLock(super.rwLock(lockClass)) {
      @Override
      public void lock(LockMode mode) {
        about(lockClass);
        rwLocksTaken.merge(mode, 1L, Long::sum);
        super.lock(mode);
      }
    };
  }
}
