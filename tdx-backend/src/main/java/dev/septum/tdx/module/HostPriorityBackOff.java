package dev.septum.tdx.module;

/** How long one vCPU has been standing back, TDCALL after TDCALL, for hosts that go first. */
final class HostPriorityBackOff {

  private static final long NOT_YET = -1;

  private long since = NOT_YET;

  /** A TDCALL ended with {@code status}; whether the vCPU has waited for {@code timeout} by now. */
  boolean hasTimedOut(long status, long now, long timeout) {
    if (TdxStatus.code(status) != TdxStatus.TDX_OPERAND_BUSY_HOST_PRIORITY) {
      since = NOT_YET;
      return false;
    }
    since = since == NOT_YET ? now : since;
    boolean timedOut = now - since >= timeout;
    since = timedOut ? NOT_YET : since;
    return timedOut;
  }
}
