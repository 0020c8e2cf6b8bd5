package dev.septum.tdx.module;

/**
 * The software in the TD on one vCPU. Called on the thread that runs VP.ENTER, while the vCPU is
 * inside the TD.
 */
public interface TdGuest {

  /** The instruction at RIP; asked for again when it faulted, since faults re-execute. */
  GuestInstruction next();

  /** The instruction retired, or raised #VE or #DF. */
  void retired(GuestInstruction instruction, GuestOutcome outcome);

  /**
   * Whether the #VE handler reads the VE information before anything else, so that a {@link
   * GuestOutcome.VirtualizationException} stands for that too. If not, VEINFO.GET is an instruction
   * of its own, and a #VE before it is a #DF.
   */
  default boolean readsVeInfoAtOnce() {
    return true;
  }
}
