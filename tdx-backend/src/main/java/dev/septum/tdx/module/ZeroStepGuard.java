package dev.septum.tdx.module;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Watches one vCPU for faults without progress, which is what an attacker who single-steps a TD
 * would cause (the module's zero-step mitigation).
 *
 * <p>After six faults at one RIP further ones are logged. Then VP.ENTER looks at the logged GPAs
 * under the S-EPT tree lock, and repeats the violation of one that still faults without entering.
 */
final class ZeroStepGuard {

  /** Faults at one RIP that are let go by. */
  private static final int ALLOWED_FAULTS = 6;

  private static final int LOGGED_FAULTS = 32;

  private final List<TdExit.Violation> log = new ArrayList<>();
  private int faults;

  /** An EPT violation on a private GPA left RIP where it was. */
  void faulted(TdExit.Violation violation) {
    faults++;
    if (faults > ALLOWED_FAULTS && log.size() < LOGGED_FAULTS && !log.contains(violation)) {
      log.add(violation);
    }
  }

  /** An instruction retired. */
  void progressed() {
    faults = 0;
    log.clear();
  }

  /** Whether VP.ENTER has faulting GPAs to look at. */
  boolean isArmed() {
    return !log.isEmpty();
  }

  /** The logged violation that entering would only repeat; null if there is none. */
  TdExit.@Nullable Violation repeated(SecureEpt sept) {
    for (TdExit.Violation violation : log) {
      SeptState state = sept.walk(violation.gpa(), 0).state();
      // A PENDING page may be all that an ACCEPT waits for.
      if (state != SeptState.MAPPED && state != SeptState.PENDING) {
        return violation;
      }
    }
    return null;
  }
}
