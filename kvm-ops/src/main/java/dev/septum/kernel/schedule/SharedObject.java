package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.PointKind;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a scheduling point is about. Its name is the same in every schedule: who made it, and how
 * many that thread had made before.
 */
abstract class SharedObject {

  /** The part that is all parts of an object. */
  static final int WHOLE = -1;

  final ScheduledRun run;
  private final String maker;
  private final int number;

  /** Goes up when another thread could see a difference. */
  private int version;

  private int lastOwner = -1;

  /** What whoever takes the object next comes after; null while nobody released it. */
  private int @Nullable [] releasedExclusive;

  private int @Nullable [] releasedShared;
  private final History history = new History();

  SharedObject(ScheduledRun run) {
    this.run = run;
    EmulatedThread thread = run.current();
    this.maker = thread == null || thread.index == 0 ? "" : thread.name + ":";
    this.number = run.nextNumber(thread);
  }

  /** What it is, as reports say it. */
  abstract String type();

  /** Whether the thread may take the step that it stands before. */
  boolean admits(EmulatedThread thread, PointKind kind) {
    return true;
  }

  /** The threads without which one that this object does not admit cannot go on. */
  List<EmulatedThread> holders() {
    return ImmutableList.of();
  }

  /** The steps at one part of the object so far. */
  History history(int index) {
    return history;
  }

  /** The steps that one at this part of the object may conflict with, part by part. */
  Iterable<History> historiesMetAt(int index) {
    return ImmutableList.of(history(index));
  }

  /** Whether steps at these two parts of one object can conflict. */
  static boolean meet(int index, int other) {
    return index == other || index == WHOLE || other == WHOLE;
  }

  String name(int index) {
    return type() + " " + maker + number;
  }

  int version() {
    return version;
  }

  /** Notes a step that others could see. */
  void touched(EmulatedThread thread, PointKind kind) {
    if (kind.isChange()) {
      version++;
    } else if ((kind == PointKind.ACQUIRE || kind == PointKind.ACQUIRE_SHARED)
        && lastOwner != thread.index) {
      // A thread that takes and gives up a lock again and again has changed nothing for itself.
      lastOwner = thread.index;
      version++;
    }
  }

  /** The thread gives up what it held: whoever takes it next comes after what was done so far. */
  void released(EmulatedThread thread, boolean exclusive) {
    if (exclusive) {
      releasedExclusive = VectorClock.join(releasedExclusive, thread.clock);
    } else {
      releasedShared = VectorClock.join(releasedShared, thread.clock);
    }
  }

  /** What a step of this kind comes after, besides the steps it conflicts with; null if nothing. */
  int @Nullable [] releasesBefore(PointKind kind) {
    return switch (kind) {
      case ACQUIRE, WAIT -> VectorClock.join(releasedExclusive, releasedShared);
      case ACQUIRE_SHARED -> releasedExclusive;
      default -> null;
    };
  }

  /** The steps at one object, by their place in the schedule. */
  static final class History {
    private int[] steps = new int[0];
    private int size;

    void add(int step) {
      if (size == steps.length) {
        steps = java.util.Arrays.copyOf(steps, Math.max(8, 2 * size));
      }
      steps[size++] = step;
    }

    int size() {
      return size;
    }

    int get(int i) {
      return steps[i];
    }
  }
}
