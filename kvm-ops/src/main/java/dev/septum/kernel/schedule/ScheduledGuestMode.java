package dev.septum.kernel.schedule;

import static com.google.common.base.Preconditions.checkState;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.GuestMode;
import dev.septum.kernel.PointKind;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Guest mode in which who kicks a vCPU is not scheduled until it has left. */
final class ScheduledGuestMode extends SharedObject implements GuestMode {

  private @Nullable EmulatedThread inside;
  private boolean inGuest;
  private boolean exitRequested;
  private final List<Exit> awaited = new ArrayList<>();

  ScheduledGuestMode(ScheduledRun run) {
    super(run);
  }

  @Override
  public void enter() {
    run.point(this, 0, PointKind.UPDATE);
    // Counting this as an entry would satisfy a kick that no exit has satisfied.
    checkState(!inGuest, "the vCPU is in the guest already");
    inGuest = true;
    inside = run.current();
  }

  @Override
  public void leave() {
    run.point(this, 0, PointKind.UPDATE);
    inGuest = false;
    inside = null;
    exitRequested = false;
    EmulatedThread me = run.current();
    for (Exit exit : awaited) {
      exit.left = me == null ? VectorClock.ZERO : me.clock;
    }
    awaited.clear();
  }

  @Override
  public boolean isInGuest() {
    run.point(this, 0, PointKind.READ);
    return inGuest;
  }

  @Override
  public boolean isExitRequested() {
    run.point(this, 0, PointKind.READ);
    return exitRequested;
  }

  @Override
  public boolean kickAndWait() {
    run.point(this, 0, PointKind.UPDATE);
    if (!inGuest) {
      return false;
    }
    exitRequested = true;
    Exit exit = new Exit();
    awaited.add(exit);
    run.point(exit, 0, PointKind.WAIT);
    return true;
  }

  @Override
  String type() {
    return "guest mode";
  }

  /** The end of one stay in the guest; a vCPU may have entered again since. */
  private final class Exit extends SharedObject {

    /** What comes before the exit; null while the vCPU is in there. */
    private int @Nullable [] left;

    Exit() {
      super(ScheduledGuestMode.this.run);
    }

    @Override
    boolean admits(EmulatedThread thread, PointKind kind) {
      return left != null;
    }

    @Override
    List<EmulatedThread> holders() {
      EmulatedThread vcpu = inside;
      return vcpu == null ? ImmutableList.of() : ImmutableList.of(vcpu);
    }

    @Override
    int @Nullable [] releasesBefore(PointKind kind) {
      return left;
    }

    @Override
    String type() {
      return "exit of " + ScheduledGuestMode.this.name(0);
    }
  }
}
