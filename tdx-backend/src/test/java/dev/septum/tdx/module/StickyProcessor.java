package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;

/** A vCPU that stays inside its TD, touching shared memory, until its processor is interrupted. */
final class StickyProcessor implements TdGuest, LogicalProcessor {

  private final SharedWord interrupted;
  private final SharedWord instructions;

  StickyProcessor(Kernel kernel) {
    interrupted = kernel.word(0);
    instructions = kernel.word(0);
  }

  /** The kick. */
  void interrupt() {
    interrupted.set(1);
  }

  void awaitInside(Kernel kernel) {
    while (instructions.get() == 0) {
      kernel.condResched();
    }
  }

  @Override
  public GuestInstruction next() {
    instructions.addAndGet(1);
    return new GuestInstruction.Access(1L << 47, AccessKind.READ);
  }

  @Override
  public void retired(GuestInstruction instruction, GuestOutcome outcome) {}

  @Override
  public boolean isInterruptPending() {
    return interrupted.get() != 0;
  }

  @Override
  public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
    return true;
  }
}
