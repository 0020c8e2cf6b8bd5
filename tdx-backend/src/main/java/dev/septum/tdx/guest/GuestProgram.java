package dev.septum.tdx.guest;

import dev.septum.tdx.Vmcalls;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.TdGuest;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/** Tasks one after the other; halts when all are done, and after that whenever it is run. */
public final class GuestProgram implements TdGuest {

  private static final GuestInstruction HALT =
      new GuestInstruction.Vmcall(0, Vmcalls.HLT, 0, 0, 0, 0);

  private final Deque<GuestTask> tasks;

  /** A program of these tasks. */
  public GuestProgram(List<? extends GuestTask> tasks) {
    this.tasks = new ArrayDeque<>(tasks);
  }

  /** A program of these tasks. */
  public static GuestProgram of(GuestTask... tasks) {
    return new GuestProgram(List.of(tasks));
  }

  /** Adds a task at the end. */
  public void append(GuestTask task) {
    tasks.add(task);
  }

  /** Whether every task is done. */
  public boolean isDone() {
    skipDone();
    return tasks.isEmpty();
  }

  @Override
  public GuestInstruction next() {
    skipDone();
    GuestTask task = tasks.peek();
    return task == null ? HALT : task.next();
  }

  @Override
  public void retired(GuestInstruction instruction, GuestOutcome outcome) {
    GuestTask task = tasks.peek();
    // A halt that an earlier program ended with retires when the vCPU is entered again.
    if (task != null && !instruction.equals(HALT)) {
      task.retired(outcome);
    }
  }

  private void skipDone() {
    GuestTask task = tasks.peek();
    while (task != null && task.isDone()) {
      tasks.remove();
      task = tasks.peek();
    }
  }
}
