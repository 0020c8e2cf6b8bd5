package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Mutex;
import dev.septum.kernel.PointKind;
import dev.septum.kernel.SpinLock;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A spin lock or a mutex: who cannot have it is not scheduled, and never loops. */
final class ScheduledLock extends SharedObject implements SpinLock, Mutex {

  private final LockClass lockClass;
  private @Nullable EmulatedThread holder;

  ScheduledLock(ScheduledRun run, LockClass lockClass) {
    super(run);
    this.lockClass = lockClass;
  }

  @Override
  public void lock() {
    run.checker().beforeAcquire(lockClass);
    run.point(this, 0, PointKind.ACQUIRE);
    holder = run.current();
    run.checker().acquired(this, lockClass, LockMode.EXCLUSIVE);
  }

  @Override
  public void unlock() {
    run.checker().released(this, lockClass, LockMode.EXCLUSIVE);
    holder = null;
    run.released(this, true);
  }

  @Override
  public void assertHeld() {
    LockChecker checker = run.checker();
    checker.require(checker.holds(this, LockMode.EXCLUSIVE), lockClass, "by this thread");
  }

  @Override
  boolean admits(EmulatedThread thread, PointKind kind) {
    return holder == null;
  }

  @Override
  List<EmulatedThread> holders() {
    EmulatedThread thread = holder;
    return thread == null ? ImmutableList.of() : ImmutableList.of(thread);
  }

  @Override
  String type() {
    return lockClass.kernelName();
  }
}
