package dev.septum.tdx.module;

/**
 * Watches one vCPU for faults without progress, which is what an attacker who single-steps a TD
 * would cause (the module's zero-step mitigation).
 *
 * <p>Modelled is that VP.ENTER then takes the S-EPT tree lock for a moment, and can fail on it.
 * That the module repeats the violation without entering is left out: the entry faults again by
 * itself.
 */
final class ZeroStepGuard {

  /** Faults at one RIP that are let go by. */
  private static final int ALLOWED_FAULTS = 6;

  private int faults;

  /** An EPT violation on a private GPA left RIP where it was. */
  void faulted() {
    faults++;
  }

  /** An instruction retired. */
  void progressed() {
    faults = 0;
  }

  /** Whether VP.ENTER has faulting GPAs to look at. */
  boolean isArmed() {
    return faults > ALLOWED_FAULTS;
  }
}
