package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;

/** TD_CTLS, which the guest writes by TDG.VM.WR. */
final class TdControls {

  private static final long PENDING_VE_DISABLE = 1;
  private static final long LOCK = 1L << 63;

  private final SharedWord value;

  TdControls(Kernel kernel) {
    value = kernel.word(0).named("TD controls");
  }

  /** MNG.INIT: SEPT_VE_DISABLE is where PENDING_VE_DISABLE comes from. */
  void initialize(TdParams params) {
    value.set(params.isSeptVeDisabled() ? PENDING_VE_DISABLE : 0);
  }

  /** Whether touching a PENDING page is an exit, not a #VE. */
  boolean isPendingVeDisabled() {
    return (value.get() & PENDING_VE_DISABLE) != 0;
  }

  /** TDG.VM.WR, if the TD may change its mind. */
  TdcallResult write(long next, TdParams params) {
    long seen = value.get();
    boolean changesVe = ((seen ^ next) & PENDING_VE_DISABLE) != 0;
    if ((next & ~PENDING_VE_DISABLE & ~LOCK) != 0) {
      return refuse(TdxStatus.TDX_METADATA_FIELD_VALUE_NOT_VALID);
    }
    if ((seen & LOCK) != 0 || (changesVe && !params.flexiblePendingVe())) {
      return refuse(TdxStatus.TDX_METADATA_FIELD_NOT_WRITABLE);
    }
    // Two vCPUs that write at once are the guest's own business: one write is the last.
    value.set(next);
    return TdcallResult.SUCCESS;
  }

  private static TdcallResult refuse(long code) {
    return TdcallResult.status(code, OperandId.METADATA_FIELD);
  }
}
