package dev.septum.lab.defects;

import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;

/** A task with something of the host's after each instruction. */
record Interrupted(GuestTask task, Runnable body) implements GuestTask {
  @Override
  public boolean isDone() {
    return task.isDone();
  }

  @Override
  public GuestInstruction next() {
    return task.next();
  }

  @Override
  public void retired(GuestOutcome outcome) {
    task.retired(outcome);
    body.run();
  }
}
