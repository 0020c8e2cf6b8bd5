package dev.septum.kernel.schedule;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.PointKind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What happened in a run: the steps since there was a second thread, and the choices. */
final class Trace {

  /** Most steps of a cycle, and how often it must have come to be one. */
  private static final int LONGEST_CYCLE = 200;

  private static final int TIMES = 3;

  /** One step. */
  record Step(EmulatedThread thread, PointKind kind, SharedObject object, int part) {
    String point() {
      return kind == PointKind.BEGIN || kind == PointKind.YIELD
          ? kind.word()
          : kind.word() + " " + object.name(part);
    }

    @Override
    public String toString() {
      return thread + " " + point();
    }

    boolean isLike(Step other) {
      return thread == other.thread
          && kind == other.kind
          && object == other.object
          && part == other.part;
    }
  }

  /** What a thread did, said by the program, after the step {@code after} - 1. */
  private record Note(int after, EmulatedThread thread, String text) {}

  private final boolean keepsNotes;
  private final List<Note> notes = new ArrayList<>();
  private EmulatedThread[] threads = new EmulatedThread[64];
  private PointKind[] kinds = new PointKind[64];
  private SharedObject[] objects = new SharedObject[64];
  private int[] parts = new int[64];
  private int size;

  /** Threads chosen, and complements of values chosen; for each what it was about. */
  private int[] choices = new int[32];

  private @Nullable Object[] subjects = new @Nullable Object[32];
  private int choiceCount;
  private int preemptions;

  Trace(boolean keepsNotes) {
    this.keepsNotes = keepsNotes;
  }

  boolean keepsNotes() {
    return keepsNotes;
  }

  void noted(EmulatedThread thread, String text) {
    if (keepsNotes) {
      notes.add(new Note(size, thread, text));
    }
  }

  void stepped(EmulatedThread thread) {
    if (size == parts.length) {
      threads = Arrays.copyOf(threads, 2 * size);
      kinds = Arrays.copyOf(kinds, 2 * size);
      objects = Arrays.copyOf(objects, 2 * size);
      parts = Arrays.copyOf(parts, 2 * size);
    }
    threads[size] = thread;
    kinds[size] = thread.kind;
    objects[size] = thread.object;
    parts[size++] = thread.part;
  }

  void chose(EmulatedThread thread, boolean preemption) {
    preemptions += preemption ? 1 : 0;
    // The step itself comes right after the choice.
    add(thread.index, size);
  }

  void chose(int value, String what) {
    add(~value, what);
  }

  private void add(int choice, Object subject) {
    if (choiceCount == choices.length) {
      choices = Arrays.copyOf(choices, 2 * choiceCount);
      subjects = Arrays.copyOf(subjects, 2 * choiceCount);
    }
    choices[choiceCount] = choice;
    subjects[choiceCount++] = subject;
  }

  int steps() {
    return size;
  }

  int preemptions() {
    return preemptions;
  }

  int thread(int step) {
    return threads[step].index;
  }

  /** The values chosen, in their order. */
  List<Integer> values() {
    List<Integer> values = new ArrayList<>();
    for (int i = 0; i < choiceCount; i++) {
      if (choices[i] < 0) {
        values.add(~choices[i]);
      }
    }
    return values;
  }

  int choices() {
    return choiceCount;
  }

  Step step(int i) {
    return new Step(threads[i], kinds[i], objects[i], parts[i]);
  }

  /** Steps and notes in their order. */
  ImmutableList<RunTrace.Line> lines() {
    ImmutableList.Builder<RunTrace.Line> lines = ImmutableList.builder();
    int noted = 0;
    for (int i = 0; i <= size; i++) {
      for (; noted < notes.size() && notes.get(noted).after <= i; noted++) {
        Note note = notes.get(noted);
        lines.add(new RunTrace.Line(note.thread.index, false, note.text));
      }
      if (i < size) {
        lines.add(new RunTrace.Line(threads[i].index, true, step(i).point()));
      }
    }
    return lines.build();
  }

  /** The choices as a schedule that can be replayed. */
  Schedule schedule() {
    ImmutableList.Builder<Schedule.Choice> list = ImmutableList.builder();
    for (int i = 0; i < choiceCount; i++) {
      Object subject = subjects[i];
      if (choices[i] >= 0 && subject instanceof Integer at) {
        String point = at < size ? step(at).point() : "";
        list.add(new Schedule.Choice(choices[i], false, point));
      } else {
        list.add(new Schedule.Choice(~choices[i], true, String.valueOf(subject)));
      }
    }
    return new Schedule(list.build());
  }

  /** The shortest run of steps that the trace ends with several times over; empty if none. */
  List<Step> cycle() {
    for (int period = 1; period <= LONGEST_CYCLE && period * TIMES <= size; period++) {
      boolean repeats = true;
      for (int i = size - 1; repeats && i >= size - period * (TIMES - 1); i--) {
        repeats = step(i).isLike(step(i - period));
      }
      if (repeats) {
        return steps(size - period, size);
      }
    }
    return ImmutableList.of();
  }

  List<Step> steps(int from, int to) {
    List<Step> steps = new ArrayList<>();
    for (int i = from; i < to; i++) {
      steps.add(step(i));
    }
    return steps;
  }
}
