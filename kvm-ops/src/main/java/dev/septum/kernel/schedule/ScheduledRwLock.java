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

  private final LockClass lockClass;
  private final List<EmulatedThread> readers = new ArrayList<>();
  private @Nullable EmulatedThread writer;
  private int readersWaiting;
  private int writersWaiting;

  ScheduledRwLock(ScheduledRun run, LockClass lockClass) {
    super(run);
    this.lockClass = lockClass;
  }

  @Override
  public void lock(LockMode mode) {
    run.checker().beforeAcquire(lockClass);
    // Two steps: needBreak() of the holder can see who has come and not got in.
    run.point(this, 0, PointKind.ARRIVE);
    count(mode, 1);
    try {
      run.point(this, 0, mode == LockMode.SHARED ? PointKind.ACQUIRE_SHARED : PointKind.ACQUIRE);
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

  @Override
  public boolean needBreak() {
    run.point(this, 0, PointKind.READ);
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
