package dev.septum.tdx.module;

/**
 * The software in the TD on one vCPU. Called on the thread that runs VP.ENTER, while the vCPU is
 * inside the TD.
 */
public interface TdGuest {

  /** The instruction at RIP; asked for again when it faulted, since faults re-execute. */
  GuestInstruction next();

  /** The instruction retired, or raised #VE. */
  void retired(GuestInstruction instruction, GuestOutcome outcome);
}
