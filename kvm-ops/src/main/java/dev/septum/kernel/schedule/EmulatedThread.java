package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PointKind;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/** A thread of a {@link ScheduledKernel}. Touched by who has the token only. */
final class EmulatedThread extends SharedObject implements KernelThread {

  /** Objects a thread remembers having looked at; one that looks at more is taken to get on. */
  private static final int MOST_LOOKED_AT = 64;

  final int index;
  final String name;

  /** Serves the others and never ends by itself. */
  final boolean isDaemon;

  /** Times that a thread may give way, without anybody else moving, before it has to. */
  private static final int MOST_TIMES_ALONE = 8;

  private final @Nullable Runnable body;

  private volatile @Nullable Thread carrier;
  private boolean started;
  private boolean ended;
  private @Nullable Throwable failure;
  private boolean rethrown;

  /** The step that the thread stands before. */
  PointKind kind = PointKind.BEGIN;

  SharedObject object = this;
  int part;

  /** Steps that come before the thread's next one, and how many of them are its own. */
  int[] clock = VectorClock.ZERO;

  int objectsMade;

  private final SharedObject[] lookedAt = new SharedObject[MOST_LOOKED_AT];
  private final int[] versions = new int[MOST_LOOKED_AT];
  private int looks;
  private boolean changedSomething;
  private long looksHash;
  private long lastLooksHash;
  private int timesAlone;

  EmulatedThread(
      ScheduledRun run, int index, String name, boolean isDaemon, @Nullable Runnable body) {
    super(run);
    this.index = index;
    this.name = name;
    this.isDaemon = isDaemon;
    this.body = body;
  }

  /** The program's own thread, which runs already. */
  static EmulatedThread main(ScheduledRun run) {
    EmulatedThread main = new EmulatedThread(run, 0, "main", false, null);
    main.started = true;
    Thread thread = Thread.currentThread();
    thread.setName("main");
    main.carrier = thread;
    return main;
  }

  boolean isStarted() {
    return started;
  }

  boolean isEnded() {
    return ended;
  }

  void end() {
    ended = true;
  }

  boolean isCarriedBy(Thread thread) {
    return carrier == thread;
  }

  StackTraceElement[] stack() {
    Thread thread = carrier;
    return thread == null ? new StackTraceElement[0] : thread.getStackTrace();
  }

  /** What ended the thread, unless somebody joined it and was told. */
  @Nullable Throwable untoldFailure() {
    return rethrown ? null : failure;
  }

  void fail(Throwable cause) {
    failure = cause;
  }

  /** Lets the thread go on; the caller has given it the token. */
  void resume(CarrierPool pool) {
    if (started) {
      LockSupport.unpark(carrier);
    } else {
      started = true;
      pool.start(worker -> carry(pool, worker));
    }
  }

  private void carry(CarrierPool pool, CarrierPool.Worker worker) {
    Thread thread = Thread.currentThread();
    thread.setName(name);
    carrier = thread;
    try {
      if (!run.isAborting() && body != null) {
        body.run();
        run.checker().assertNoneHeld("the end of thread " + name);
      }
    } catch (Abort e) {
      // The run is over; the stack is unwound so that the carrier can have another job.
    } catch (Throwable t) {
      if (!run.isAborting()) {
        failure = t;
      }
    }
    pool.giveBack(worker);
    run.threadEnds(this);
  }

  @Override
  public void join() {
    run.point(this, 0, PointKind.JOIN);
    Throwable cause = failure;
    if (cause != null) {
      rethrown = true;
      throw new IllegalStateException("thread " + name + " failed: " + cause.getMessage(), cause);
    }
  }

  @Override
  boolean admits(EmulatedThread thread, PointKind step) {
    return step != PointKind.JOIN || ended;
  }

  @Override
  List<EmulatedThread> holders() {
    return ImmutableList.of(this);
  }

  @Override
  int @Nullable [] releasesBefore(PointKind step) {
    return step == PointKind.JOIN ? clock : null;
  }

  /** Notes what the thread's step means for whether it gets on. */
  void stepped() {
    if (kind == PointKind.YIELD) {
      lastLooksHash = changedSomething ? 0 : looksHash;
      looks = 0;
      looksHash = 1;
      changedSomething = false;
      timesAlone++;
    } else if (kind.isChange() || looks == MOST_LOOKED_AT) {
      changedSomething = true;
    } else if (kind == PointKind.READ
        || kind == PointKind.READ_REST
        || kind == PointKind.ACQUIRE
        || kind == PointKind.ACQUIRE_SHARED) {
      lookedAt[looks] = object;
      versions[looks++] = object.version();
      looksHash = 31 * (31 * looksHash + System.identityHashCode(object)) + object.version();
    }
  }

  /** Another thread took a step. */
  void othersMoved() {
    timesAlone = 0;
  }

  /**
   * Whether the thread, which gives way, did nothing since it last gave way but look at the same
   * things as before, none of which has changed since: it would only do so once more. Also whether
   * it gave way again and again and nobody else moved, as no fair scheduler would have it.
   */
  boolean spinsInVain() {
    if (timesAlone >= MOST_TIMES_ALONE) {
      return true;
    }
    if (changedSomething || looks == 0 || looksHash != lastLooksHash) {
      return false;
    }
    for (int i = 0; i < looks; i++) {
      if (lookedAt[i].version() != versions[i]) {
        return false;
      }
    }
    return true;
  }

  @Override
  String type() {
    return "thread";
  }

  @Override
  String name(int index) {
    return "thread " + name;
  }

  @Override
  public String toString() {
    return name + "/" + index;
  }
}
