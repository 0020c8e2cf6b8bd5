package dev.septum.tdx.module;

/**
 * TDG.MEM.PAGE.ACCEPT: turns a PENDING page into a MAPPED one. Only the entry's lock is taken: TLB
 * tracking keeps the tables while the vCPU is inside.
 */
final class AcceptPage {

  private final Seamcall enter;
  private final Td td;
  private final TdExit exit;

  AcceptPage(Seamcall enter, Td td, TdExit exit) {
    this.enter = enter;
    this.td = td;
    this.exit = exit;
  }

  TdcallResult run(GuestInstruction.Accept accept) {
    if (!td.isPageOf(accept.gpa(), accept.level(), 1)) {
      return TdcallResult.status(TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
    }
    SeptSlot slot = td.sept().walk(accept.gpa(), accept.level());
    return slot.level() == accept.level()
        ? acceptAt(accept, slot, slot.entry())
        : endedAbove(accept, slot);
  }

  /** Goes on at an entry of the right level, which was {@code walked} when the walk met it. */
  TdcallResult acceptAt(GuestInstruction.Accept accept, SeptSlot slot, long walked) {
    long busy = GuestEntryLock.take(enter, slot);
    if (busy != TdxStatus.TDX_SUCCESS) {
      return TdcallResult.status(busy, OperandId.RCX);
    }
    try {
      return acceptLocked(accept, slot, walked);
    } finally {
      slot.unlock();
    }
  }

  private TdcallResult acceptLocked(GuestInstruction.Accept accept, SeptSlot slot, long walked) {
    // A DEMOTE or PROMOTE may have come between walk and lock; old versions do not look again.
    boolean looksAgain = enter.module().config().release().acceptsByLockedEntry();
    SeptState judged = looksAgain ? slot.state() : SeptState.of(walked);
    if (judged.isInUse() && !judged.isLeaf()) {
      return TdcallResult.status(TdxStatus.TDX_PAGE_SIZE_MISMATCH, slot.level());
    }
    return switch (slot.state()) {
      case MAPPED -> TdcallResult.status(TdxStatus.TDX_PAGE_ALREADY_ACCEPTED, slot.level());
      case PENDING -> clear(slot);
      default -> exitFor(accept, slot.level(), slot.entry());
    };
  }

  /** A larger leaf, or no table: done already, or the host's turn. */
  private TdcallResult endedAbove(GuestInstruction.Accept accept, SeptSlot slot) {
    long entry = slot.entry();
    return SeptState.of(entry) == SeptState.MAPPED
        ? TdcallResult.status(TdxStatus.TDX_PAGE_ALREADY_ACCEPTED, slot.level())
        : exitFor(accept, slot.level(), entry);
  }

  /** Clears the page in chunks of 4K; an event stops a 2M page between two of them. */
  private TdcallResult clear(SeptSlot slot) {
    long pending = slot.entry();
    long chunks = SeptEntry.pages(slot.level());
    for (int done = SeptEntry.acceptCounter(pending, slot.level()) + 1; done < chunks; done++) {
      if (enter.isGuestInterrupted()) {
        long fresh = SeptEntry.withState(pending, slot.level(), SeptState.PENDING);
        slot.write(SeptEntry.withAcceptCounter(fresh, done));
        return TdcallResult.INTERRUPTED;
      }
    }
    enter.module().clearPage(slot.hpa(), slot.level());
    slot.write(SeptEntry.withState(pending, slot.level(), SeptState.MAPPED));
    return TdcallResult.SUCCESS;
  }

  private TdcallResult exitFor(GuestInstruction.Accept accept, int metLevel, long entry) {
    exit.acceptEptViolation(accept.gpa(), accept.level(), metLevel, entry);
    return TdcallResult.EXITED;
  }
}
