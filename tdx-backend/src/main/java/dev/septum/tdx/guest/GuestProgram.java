package dev.septum.tdx.guest;

import dev.septum.tdx.Vmcalls;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.TdGuest;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Tasks one after the other; halts when all are done, and after that whenever it is run. */
public final class GuestProgram implements TdGuest {

  private static final GuestInstruction HALT =
      new GuestInstruction.Vmcall(0, Vmcalls.HLT, 0, 0, 0, 0);

  private final Deque<GuestTask> tasks;

  /** Whose instruction is under way; null while it is the HALT, or another program's. */
  private @Nullable GuestTask issuer;

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
    issuer = tasks.peek();
    return issuer == null ? HALT : issuer.next();
  }

  @Override
  public void retired(GuestInstruction instruction, GuestOutcome outcome) {
    GuestTask task = issuer;
    issuer = null;
    // A VMCALL retires at the next entry: by then a task may have been added, or the program that
    // made the call replaced by this one.
    if (task != null) {
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
