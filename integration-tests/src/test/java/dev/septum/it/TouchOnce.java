package dev.septum.it;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;

/** Writes to a page that is not accepted, and takes the #VE: the host has mapped it then. */
final class TouchOnce implements GuestTask {

  private final long gfn;
  private boolean done;

  TouchOnce(long gfn) {
    this.gfn = gfn;
  }

  @Override
  public boolean isDone() {
    return done;
  }

  @Override
  public GuestInstruction next() {
    return new GuestInstruction.Access(gfn << 12, AccessKind.WRITE);
  }

  @Override
  public void retired(GuestOutcome outcome) {
    assertThat(outcome).isInstanceOf(GuestOutcome.VirtualizationException.class);
    done = true;
  }
}
