package dev.septum.lab.boot;

import dev.septum.lab.Progress;
import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import java.util.function.LongSupplier;

/** A task whose progress somebody watches. */
record WatchedTask(GuestTask task, Progress progress, LongSupplier done) implements GuestTask {

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
    progress.reached(done.getAsLong());
  }
}
