package dev.septum.tdx.module;

import com.google.common.base.Verify;
import org.jspecify.annotations.Nullable;

/**
 * How an attempt to execute a TDCALL ended.
 *
 * @param completed what the guest gets, if it ended
 */
record TdcallResult(End end, @Nullable GuestOutcome completed) {

  /** Whether, and why not, the TDCALL is over. */
  enum End {
    /** It completed. */
    RETIRED,
    /** An event is pending: the progress is kept, and the TDCALL is executed again. */
    INTERRUPTED,
    /** The host has to do something first: the exit's registers are set. */
    EXITED
  }

  static final TdcallResult EXITED = new TdcallResult(End.EXITED, null);
  static final TdcallResult INTERRUPTED = new TdcallResult(End.INTERRUPTED, null);
  static final TdcallResult SUCCESS = status(TdxStatus.TDX_SUCCESS, 0);

  static TdcallResult status(long code, long detail) {
    return completed(new GuestOutcome.Status(code | detail));
  }

  static TdcallResult completed(GuestOutcome outcome) {
    return new TdcallResult(End.RETIRED, outcome);
  }

  GuestOutcome outcome() {
    return Verify.verifyNotNull(completed);
  }

  /** The RAX of the TDCALL that completed. */
  long rax() {
    return completed instanceof GuestOutcome.Status status ? status.rax() : TdxStatus.TDX_SUCCESS;
  }
}
