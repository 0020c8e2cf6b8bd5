package dev.septum.tdx.module;

import org.jspecify.annotations.Nullable;

/** The VE information of one vCPU: what the last #VE was about, until VEINFO.GET reads it. */
final class VeInfoArea {

  private GuestOutcome.@Nullable VeInfo unread;

  /** An access to a PENDING page raises #VE, or #DF if the last one's information is unread. */
  GuestOutcome raise(GuestInstruction.Access access, long exitQualification, TdGuest guest) {
    if (unread != null) {
      return new GuestOutcome.DoubleFault(access.gpa());
    }
    if (!guest.readsVeInfoAtOnce()) {
      unread = new GuestOutcome.VeInfo(TdExit.EPT_VIOLATION, exitQualification, access.gpa(), true);
    }
    return new GuestOutcome.VirtualizationException(access.gpa(), exitQualification);
  }

  /** TDG.VP.VEINFO.GET. */
  TdcallResult get() {
    GuestOutcome.VeInfo info = unread;
    unread = null;
    return info == null
        ? TdcallResult.status(TdxStatus.TDX_NO_VALID_VE_INFO, 0)
        : TdcallResult.completed(info);
  }
}
