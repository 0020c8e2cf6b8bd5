package dev.septum.lab.seamcall;

import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;
import dev.septum.tdx.module.LogicalProcessor;
import dev.septum.tdx.module.TdGuest;
import org.jspecify.annotations.Nullable;

/**
 * A guest that executes one instruction at a time, and the processor that it runs on: without an
 * instruction there is an interrupt, so that the vCPU comes back.
 */
final class ScriptedGuest implements TdGuest, LogicalProcessor {

  private @Nullable GuestInstruction instruction;
  private @Nullable GuestOutcome outcome;

  /** The guest's next instruction. */
  void willExecute(GuestInstruction next) {
    instruction = next;
    outcome = null;
  }

  /** Forgets an instruction that did not retire. */
  void stop() {
    instruction = null;
  }

  /** What the last instruction came to; null if it did not retire. */
  @Nullable GuestOutcome outcome() {
    return outcome;
  }

  @Override
  public GuestInstruction next() {
    GuestInstruction next = instruction;
    if (next == null) {
      throw new IllegalStateException("a guest without an instruction was asked for one");
    }
    return next;
  }

  @Override
  public void retired(GuestInstruction retired, GuestOutcome result) {
    instruction = null;
    outcome = result;
  }

  @Override
  public boolean isInterruptPending() {
    return instruction == null;
  }

  @Override
  public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
    return true;
  }
}
