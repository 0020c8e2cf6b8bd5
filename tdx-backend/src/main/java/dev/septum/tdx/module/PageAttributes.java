package dev.septum.tdx.module;

/**
 * TDG.MEM.PAGE.ATTR.RD and ATTR.WR. There are no nested VMs whose attributes they could be about;
 * what remains is that they see the page's size, and that a write asks the host to demote.
 */
final class PageAttributes {

  private static final long PENDING = 1L << 62;

  private final Seamcall enter;
  private final Td td;
  private final TdExit exit;

  PageAttributes(Seamcall enter, Td td, TdExit exit) {
    this.enter = enter;
    this.td = td;
    this.exit = exit;
  }

  TdcallResult read(GuestInstruction.AttrRead read) {
    if (!td.isPageOf(read.gpa(), 0, 0)) {
      return TdcallResult.status(TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
    }
    SeptSlot slot = td.sept().walk(read.gpa(), 0);
    long busy = GuestEntryLock.take(enter, slot);
    if (busy != TdxStatus.TDX_SUCCESS) {
      return TdcallResult.status(busy, OperandId.RCX);
    }
    try {
      return readLocked(read, slot);
    } finally {
      slot.unlock();
    }
  }

  TdcallResult write(GuestInstruction.AttrWrite write) {
    if (!td.isPageOf(write.gpa(), write.level(), 2)) {
      return TdcallResult.status(TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
    }
    if (write.attributes() != 0) {
      return TdcallResult.status(TdxStatus.TDX_OPERAND_INVALID, OperandId.RDX);
    }
    SeptSlot slot = td.sept().walk(write.gpa(), write.level());
    if (slot.level() != write.level()) {
      return exitFor(write, slot);
    }
    long busy = GuestEntryLock.take(enter, slot);
    if (busy != TdxStatus.TDX_SUCCESS) {
      return TdcallResult.status(busy, OperandId.RCX);
    }
    try {
      return writeLocked(write, slot);
    } finally {
      slot.unlock();
    }
  }

  private TdcallResult readLocked(GuestInstruction.AttrRead read, SeptSlot slot) {
    SeptState state = slot.state();
    if (!state.isLeaf() || state.isBlocked()) {
      exit.privateEptViolation(read.gpa(), AccessKind.READ, slot);
      return TdcallResult.EXITED;
    }
    long pending = state.isPending() ? PENDING : 0;
    return TdcallResult.completed(
        new GuestOutcome.PageAttributes(slot.gpa() | slot.level() | pending, 0));
  }

  private TdcallResult writeLocked(GuestInstruction.AttrWrite write, SeptSlot slot) {
    return switch (slot.state()) {
      case NL_MAPPED, NL_BLOCKED ->
          TdcallResult.status(TdxStatus.TDX_PAGE_SIZE_MISMATCH, slot.level());
      case MAPPED, PENDING -> TdcallResult.SUCCESS;
      default -> exitFor(write, slot);
    };
  }

  private TdcallResult exitFor(GuestInstruction.AttrWrite write, SeptSlot slot) {
    exit.attrWriteEptViolation(write.gpa(), write.level(), slot.level(), slot.entry());
    return TdcallResult.EXITED;
  }
}
