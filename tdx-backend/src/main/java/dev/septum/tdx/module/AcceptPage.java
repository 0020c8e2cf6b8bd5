package dev.septum.tdx.module;

/**
 * TDG.MEM.PAGE.ACCEPT: turns a PENDING page into a MAPPED one. Only the entry's lock is taken: TLB
 * tracking keeps the tables while the vCPU is inside.
 */
final class AcceptPage {

  /** How an attempt ended. */
  enum End {
    /** The TDCALL completed, with a status. */
    RETIRED,
    /** An event is pending: the progress is kept, and the TDCALL is executed again. */
    INTERRUPTED,
    /** The host has to do something first: the exit's registers are set. */
    EXITED
  }

  /** End, and for a completed TDCALL its RAX. */
  record Result(End end, long rax) {

    private static Result status(long code, long detail) {
      return new Result(End.RETIRED, code | detail);
    }
  }

  private static final Result EXITED = new Result(End.EXITED, 0);
  private static final Result INTERRUPTED = new Result(End.INTERRUPTED, 0);

  private final Td td;
  private final LogicalProcessor processor;
  private final TdExit exit;

  AcceptPage(Td td, LogicalProcessor processor, TdExit exit) {
    this.td = td;
    this.processor = processor;
    this.exit = exit;
  }

  Result run(GuestInstruction.Accept accept) {
    if (!isLegal(accept)) {
      return Result.status(TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
    }
    SeptSlot slot = td.sept().walk(accept.gpa(), accept.level());
    if (slot.level() != accept.level()) {
      return endedAbove(accept, slot);
    }
    if (slot.tryLockByGuest() != SeptSlot.GuestLock.TAKEN) {
      // BUSY for the sake of host priority looks the same to the guest.
      return Result.status(TdxStatus.TDX_OPERAND_BUSY, OperandId.RCX);
    }
    try {
      return acceptLocked(accept, slot);
    } finally {
      slot.unlock();
    }
  }

  private Result acceptLocked(GuestInstruction.Accept accept, SeptSlot slot) {
    return switch (slot.state()) {
      case NL_MAPPED, NL_BLOCKED -> Result.status(TdxStatus.TDX_PAGE_SIZE_MISMATCH, slot.level());
      case MAPPED -> Result.status(TdxStatus.TDX_PAGE_ALREADY_ACCEPTED, slot.level());
      case PENDING -> clear(slot);
      default -> exitFor(accept, slot.level(), slot.entry());
    };
  }

  /** A larger leaf, or no table: done already, or the host's turn. */
  private Result endedAbove(GuestInstruction.Accept accept, SeptSlot slot) {
    long entry = slot.entry();
    return SeptState.of(entry) == SeptState.MAPPED
        ? Result.status(TdxStatus.TDX_PAGE_ALREADY_ACCEPTED, slot.level())
        : exitFor(accept, slot.level(), entry);
  }

  /** Clears the page in chunks of 4K; an event stops a 2M page between two of them. */
  private Result clear(SeptSlot slot) {
    long pending = slot.entry();
    long chunks = SeptEntry.pages(slot.level());
    for (int done = SeptEntry.acceptCounter(pending, slot.level()) + 1; done < chunks; done++) {
      if (processor.isInterruptPending()) {
        long fresh = SeptEntry.withState(pending, slot.level(), SeptState.PENDING);
        slot.write(SeptEntry.withAcceptCounter(fresh, done));
        return INTERRUPTED;
      }
    }
    slot.write(SeptEntry.withState(pending, slot.level(), SeptState.MAPPED));
    return Result.status(TdxStatus.TDX_SUCCESS, 0);
  }

  private Result exitFor(GuestInstruction.Accept accept, int metLevel, long entry) {
    exit.acceptEptViolation(accept.gpa(), accept.level(), metLevel, entry);
    return EXITED;
  }

  private boolean isLegal(GuestInstruction.Accept accept) {
    return accept.level() >= 0
        && accept.level() <= 1
        && (accept.gpa() & SeptEntry.bytes(accept.level()) - 1) == 0
        && td.isPrivate(accept.gpa());
  }
}
