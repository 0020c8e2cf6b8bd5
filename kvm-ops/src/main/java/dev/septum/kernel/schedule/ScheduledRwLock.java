package dev.septum.kernel.schedule;

import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PointKind;
import dev.septum.kernel.RwLock;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A reader-writer lock: a reader may overtake a writer that waits, as any schedule may have it. */
final class ScheduledRwLock extends SharedObject implements RwLock {

  /** Parts: who has the lock, the writers that wait for it, and the readers. */
  private static final int HOLDERS = 0;

  private static final int WRITERS = 1;
  private static final int READERS = 2;

  private final LockClass lockClass;
  private final List<EmulatedThread> readers = new ArrayList<>();
  private @Nullable EmulatedThread writer;
  private int readersWaiting;
  private int writersWaiting;
  private final History writerArrivals = new History();
  private final History readerArrivals = new History();

  ScheduledRwLock(ScheduledRun run, LockClass lockClass) {
    super(run);
    this.lockClass = lockClass;
  }

  @Override
  public void lock(LockMode mode) {
    run.checker().beforeAcquire(lockClass);
    // Two steps: needBreak() of the holder can see who has come and not got in.
    run.point(this, mode == LockMode.SHARED ? READERS : WRITERS, PointKind.ARRIVE);
    count(mode, 1);
    try {
      run.point(
          this, HOLDERS, mode == LockMode.SHARED ? PointKind.ACQUIRE_SHARED : PointKind.ACQUIRE);
    } finally {
      count(mode, -1);
    }
    EmulatedThread me = run.current();
    if (me != null) {
      if (mode == LockMode.SHARED) {
        readers.add(me);
      } else {
        writer = me;
      }
    }
    run.checker().acquired(this, lockClass, mode);
  }

  @Override
  public void unlock(LockMode mode) {
    run.checker().released(this, lockClass, mode);
    if (mode == LockMode.SHARED) {
      readers.remove(run.current());
    } else {
      writer = null;
    }
    run.released(this, mode == LockMode.EXCLUSIVE);
  }

  private void count(LockMode mode, int delta) {
    if (mode == LockMode.SHARED) {
      readersWaiting += delta;
    } else {
      writersWaiting += delta;
    }
  }

  /** A holder for read has no reason to look for readers: they get in beside it. */
  @Override
  public boolean needBreak() {
    run.point(this, WRITERS, PointKind.READ);
    if (readers.isEmpty()) {
      run.point(this, READERS, PointKind.READ);
    }
    return writersWaiting > 0 || (readersWaiting > 0 && readers.isEmpty());
  }

  @Override
  public void assertHeld(LockMode mode) {
    LockChecker.require(
        isHeld(mode), lockClass, mode == LockMode.SHARED ? "for read" : "for write");
  }

  @Override
  public void assertHeld() {
    LockChecker.require(
        isHeld(LockMode.SHARED) || isHeld(LockMode.EXCLUSIVE), lockClass, "by this thread");
  }

  @Override
  public boolean isHeld(LockMode mode) {
    return run.checker().holds(this, mode);
  }

  @Override
  History history(int part) {
    return switch (part) {
      case WRITERS -> writerArrivals;
      case READERS -> readerArrivals;
      default -> super.history(part);
    };
  }

  @Override
  boolean admits(EmulatedThread thread, PointKind kind) {
    return switch (kind) {
      case ACQUIRE -> writer == null && readers.isEmpty();
      case ACQUIRE_SHARED -> writer == null;
      default -> true;
    };
  }

  @Override
  List<EmulatedThread> holders() {
    List<EmulatedThread> holders = new ArrayList<>(readers);
    EmulatedThread thread = writer;
    if (thread != null) {
      holders.add(thread);
    }
    return holders;
  }

  @Override
  String type() {
    return lockClass.kernelName();
  }
}
