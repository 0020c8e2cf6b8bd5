package dev.septum.tdx;

import static java.util.Objects.requireNonNull;

import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import org.jspecify.annotations.Nullable;

/** A guest that executes one instruction and remembers what came of it. */
final class OneInstruction implements GuestTask {

  private final GuestInstruction instruction;
  private @Nullable GuestOutcome outcome;

  OneInstruction(GuestInstruction instruction) {
    this.instruction = instruction;
  }

  static OneInstruction accept4K(long gfn) {
    return new OneInstruction(new GuestInstruction.Accept(gfn << 12, 0));
  }

  static OneInstruction accept2M(long gfn) {
    return new OneInstruction(new GuestInstruction.Accept(gfn << 12, 1));
  }

  static OneInstruction write(long gpa) {
    return new OneInstruction(new GuestInstruction.Access(gpa, AccessKind.WRITE));
  }

  static OneInstruction vmcall(long r11, long r12, long r13) {
    return new OneInstruction(new GuestInstruction.Vmcall(0, r11, r12, r13, 0, 0));
  }

  GuestOutcome outcome() {
    return requireNonNull(outcome);
  }

  @Override
  public boolean isDone() {
    return outcome != null;
  }

  @Override
  public GuestInstruction next() {
    return instruction;
  }

  @Override
  public void retired(GuestOutcome result) {
    outcome = result;
  }
}
