package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockChecker;
import dev.septum.kernel.PointKind;
import dev.septum.kernel.Rcu;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * RCU whose grace periods end when the schedule says so: a thread of its own runs the callbacks,
 * each once the read sections have ended that were open when it was queued. While there is only one
 * thread it runs them itself, as soon as it has left its read section: nobody could tell.
 */
final class ScheduledRcu extends SharedObject implements Rcu {

  private final Map<EmulatedThread, Section> open = new HashMap<>();
  private final Deque<Callback> callbacks = new ArrayDeque<>();
  private @Nullable Callback newest;
  private @Nullable EmulatedThread softirq;

  /** One outermost read section. */
  private static final class Section {
    boolean isOver;
    int[] end = VectorClock.ZERO;
  }

  /** What runs once the sections that were open when it was queued have ended. */
  private static final class Callback {
    final Runnable body;
    final Map<EmulatedThread, Section> awaited;
    final int[] queued;
    boolean isDone;
    int[] end = VectorClock.ZERO;

    Callback(Runnable body, Map<EmulatedThread, Section> awaited, int[] queued) {
      this.body = body;
      this.awaited = awaited;
      this.queued = queued;
    }

    boolean isReady() {
      return awaited.values().stream().allMatch(section -> section.isOver);
    }
  }

  ScheduledRcu(ScheduledRun run) {
    super(run);
  }

  @Override
  public void readLock() {
    if (run.checker().rcuEnter() == 0) {
      EmulatedThread me = run.current();
      if (me != null) {
        run.point(this, 0, PointKind.READ);
        open.put(me, new Section());
      }
    }
  }

  @Override
  public void readUnlock() {
    if (run.checker().rcuExit() == 0) {
      EmulatedThread me = run.current();
      Section section = me == null ? null : open.remove(me);
      if (me != null && section != null) {
        section.isOver = true;
        section.end = me.clock;
        haveCallbacksRun();
      }
    }
  }

  @Override
  public void call(Runnable callback) {
    EmulatedThread me = run.current();
    if (me == null) {
      callback.run();
      return;
    }
    run.point(this, 0, PointKind.UPDATE);
    newest = new Callback(callback, new HashMap<>(open), me.clock);
    callbacks.add(newest);
    haveCallbacksRun();
  }

  private void haveCallbacksRun() {
    if (run.isAlone()) {
      while (!callbacks.isEmpty() && open.isEmpty()) {
        runOldest();
      }
    } else if (softirq == null && !callbacks.isEmpty()) {
      softirq = run.spawn("rcu", true, this::runCallbacks);
    }
  }

  @Override
  public void barrier() {
    run.checker().mightSleep("rcu_barrier");
    run.point(this, 0, PointKind.READ);
    Callback last = newest;
    if (last != null) {
      run.point(new Barrier(last), 0, PointKind.WAIT);
    }
  }

  @Override
  public void assertReadSection() {
    if (!run.checker().inRcuReadSection()) {
      throw new LockChecker.LockViolation("not inside an RCU read section");
    }
  }

  private void runCallbacks() {
    GracePeriod gracePeriod = new GracePeriod();
    while (true) {
      run.point(gracePeriod, 0, PointKind.WAIT);
      runOldest();
    }
  }

  private void runOldest() {
    Callback ready = callbacks.remove();
    ready.body.run();
    ready.isDone = true;
    ready.end = run.caller().clock;
  }

  @Override
  String type() {
    return "rcu";
  }

  /** The end of the grace period of the oldest callback. */
  private final class GracePeriod extends SharedObject {

    GracePeriod() {
      super(ScheduledRcu.this.run);
    }

    @Override
    boolean admits(EmulatedThread thread, PointKind kind) {
      Callback first = callbacks.peek();
      return first != null && first.isReady();
    }

    @Override
    List<EmulatedThread> holders() {
      Callback first = callbacks.peek();
      List<EmulatedThread> readers = new ArrayList<>();
      if (first != null) {
        first.awaited.forEach(
            (reader, section) -> {
              if (!section.isOver) {
                readers.add(reader);
              }
            });
      }
      return readers;
    }

    @Override
    int @Nullable [] releasesBefore(PointKind kind) {
      Callback first = callbacks.peek();
      int[] before = null;
      if (first != null) {
        before = first.queued;
        for (Section section : first.awaited.values()) {
          before = VectorClock.join(before, section.end);
        }
      }
      return before;
    }

    @Override
    String type() {
      return "grace period";
    }
  }

  /** The end of the callbacks that were queued before. */
  private final class Barrier extends SharedObject {

    private final Callback last;

    Barrier(Callback last) {
      super(ScheduledRcu.this.run);
      this.last = last;
    }

    @Override
    boolean admits(EmulatedThread thread, PointKind kind) {
      return last.isDone;
    }

    @Override
    List<EmulatedThread> holders() {
      EmulatedThread thread = softirq;
      return thread == null ? ImmutableList.of() : ImmutableList.of(thread);
    }

    @Override
    int @Nullable [] releasesBefore(PointKind kind) {
      return last.end;
    }

    @Override
    String type() {
      return "rcu barrier";
    }
  }
}
