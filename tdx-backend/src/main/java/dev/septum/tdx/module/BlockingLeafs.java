package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;

/** The leafs of the TLB tracking protocol: block, track, kick, then resize or remove. */
final class BlockingLeafs {

  private static final SeptRules BLOCK = new SeptRules(0, SeptRules.TOP, LockMode.EXCLUSIVE, 0);
  private static final ImmutableSet<SeptState> BLOCKABLE =
      ImmutableSet.of(SeptState.NL_MAPPED, SeptState.MAPPED, SeptState.PENDING);
  private static final ImmutableSet<SeptState> BLOCKED =
      ImmutableSet.of(SeptState.NL_BLOCKED, SeptState.BLOCKED, SeptState.PENDING_BLOCKED);

  private BlockingLeafs() {}

  /** TDH.MEM.RANGE.BLOCK: makes what RCX names inaccessible, and notes in which epoch. */
  static void memRangeBlock(Seamcall call) {
    SeptOperand operand = SeptOperand.lock(call, BLOCK);
    if (operand == null) {
      return;
    }
    SeptState state = operand.slot().state();
    if (state.isBlocked()) {
      operand.refuseWithEntry(TdxStatus.TDX_GPA_RANGE_ALREADY_BLOCKED);
    } else if (operand.state(BLOCKABLE)) {
      rewrite(operand, state.blocked());
      // The epoch is read after the entry is closed: a vCPU that enters in between counts as one
      // that may still use the mapping, which is safe; the other order would not be.
      operand.pamtEntry().setBlockingEpoch(operand.td().epochs().current());
    }
  }

  /** TDH.MEM.RANGE.UNBLOCK: undoes RANGE.BLOCK, once the blocking has reached every TLB. */
  static void memRangeUnblock(Seamcall call) {
    SeptOperand operand = SeptOperand.lock(call, BLOCK);
    if (operand != null && operand.state(BLOCKED) && operand.tracked()) {
      rewrite(operand, operand.slot().state().unblocked());
    }
  }

  /** TDH.MEM.TRACK: starts the next epoch of the TD in RCX. */
  static void memTrack(Seamcall call) {
    Td td = TdOperand.lock(call, call.in().rcx, LockMode.SHARED, OperandId.RCX);
    if (td != null
        && call.opState(td, OpState.WITH_MEMORY)
        && call.lock(td.epochs().lock(), LockMode.EXCLUSIVE, OperandId.TD_EPOCH)) {
      call.require(td.epochs().tryAdvance(), TdxStatus.TDX_PREVIOUS_TLB_EPOCH_BUSY);
    }
  }

  private static void rewrite(SeptOperand operand, SeptState state) {
    SeptSlot slot = operand.slot();
    slot.write(SeptEntry.withState(slot.entry(), slot.level(), state));
  }
}
