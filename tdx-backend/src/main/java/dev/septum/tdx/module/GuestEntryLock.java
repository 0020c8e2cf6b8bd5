package dev.septum.tdx.module;

/** The guest's way to the lock of an S-EPT entry: hosts go first. */
final class GuestEntryLock {

  private GuestEntryLock() {}

  /**
   * Locks the entry for a TDCALL inside {@code enter}; returns the code that it ends with if not.
   */
  static long take(Seamcall enter, SeptSlot slot) {
    if (enter.isContended(OperandId.SEPT_ENTRY)) {
      return TdxStatus.TDX_OPERAND_BUSY;
    }
    return switch (slot.tryLockByGuest()) {
      case TAKEN -> TdxStatus.TDX_SUCCESS;
      case BUSY -> TdxStatus.TDX_OPERAND_BUSY;
      case BUSY_HOST_PRIORITY -> TdxStatus.TDX_OPERAND_BUSY_HOST_PRIORITY;
    };
  }
}
