package dev.septum.tdx.guest;

import dev.septum.tdx.module.GuestInstruction;
import dev.septum.tdx.module.GuestOutcome;

/** One thing that a guest does, instruction by instruction. */
public interface GuestTask {

  /** Whether nothing is left to do. */
  boolean isDone();

  /** The next instruction; the same again until it retires. Not called when done. */
  GuestInstruction next();

  /** What became of the instruction. */
  void retired(GuestOutcome outcome);
}
