package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The S-EPT entry that the host named by GPA and level (RCX) in a TD (RDX), found and locked until
 * the end of the call: steps P1 to P12 of the leaves that work on the S-EPT.
 */
final class SeptOperand {

  private static final long LEVEL = 7;
  private static final long CHUNK = 256;
  private static final long WORD = 8;
  private static final long GPA = 0x000F_FFFF_FFFF_F000L;

  private final Seamcall call;
  private final Td td;
  private final SeptSlot slot;

  private SeptOperand(Seamcall call, Td td, SeptSlot slot) {
    this.call = call;
    this.td = td;
    this.slot = slot;
  }

  /** Locks TD, OP_STATE, tree and entry, in this order; null if the call is refused. */
  static @Nullable SeptOperand lock(Seamcall call, SeptRules rules) {
    Td td = lockTd(call, call.in().rdx & ~rules.flags());
    if (td == null
        || !isGpaAndLevel(call, td, rules, call.in().rcx)
        || !call.lock(td.treeLock(), rules.tree(), OperandId.SEPT_TREE)) {
      return null;
    }
    SeptOperand operand = walk(call, td, call.in().rcx);
    return operand != null && operand.lockEntry() ? operand : null;
  }

  /**
   * Locks TD exclusively, which stands for OP_STATE, tree and entry, and finds the 4K entry in a TD
   * that is being built; null if the call is refused.
   */
  static @Nullable SeptOperand lockWhileBuilding(Seamcall call, SeptRules rules) {
    Td td = lockTdWhileBuilding(call);
    return td != null && isGpaAndLevel(call, td, rules, call.in().rcx)
        ? walk(call, td, call.in().rcx)
        : null;
  }

  /** The same for the 256 bytes at the GPA in RCX: finds the 4K entry that has them. */
  static @Nullable SeptOperand lockChunkWhileBuilding(Seamcall call) {
    Td td = lockTdWhileBuilding(call);
    return td != null && isAddress(call, td, CHUNK)
        ? walk(call, td, call.in().rcx & -SeptEntry.bytes(0))
        : null;
  }

  /**
   * Locks a debug TD, OP_STATE, tree and entry, for the 8 bytes at the GPA in RCX: finds the leaf,
   * of whatever size, that maps them; null if the call is refused.
   */
  static @Nullable SeptOperand lockLeafOfDebugTd(Seamcall call) {
    Td td = lockTd(call, call.in().rdx);
    if (td == null
        || !call.require(td.params().isDebug(), TdxStatus.TDX_TD_NON_DEBUG)
        || !isAddress(call, td, WORD)
        || !call.lock(td.treeLock(), LockMode.SHARED, OperandId.SEPT_TREE)) {
      return null;
    }
    SeptSlot slot = td.sept().walk(call.in().rcx, 0);
    SeptOperand operand = new SeptOperand(call, td, slot);
    if (slot.level() > 0 && !slot.state().isLeaf()) {
      operand.refuseWithEntry(TdxStatus.TDX_EPT_WALK_FAILED);
      return null;
    }
    return operand.lockEntry() ? operand : null;
  }

  Td td() {
    return td;
  }

  SeptSlot slot() {
    return slot;
  }

  int level() {
    return slot.level();
  }

  /** Refuses unless the entry is in one of these states (P12). */
  boolean state(Set<SeptState> allowed) {
    return allowed.contains(slot.state())
        || refuseWithEntry(TdxStatus.TDX_EPT_ENTRY_STATE_INCORRECT);
  }

  /** Whether the TLB must be known to be free of what the entry maps. */
  boolean needsTlbTracking() {
    return td.opState.isTlbTracked();
  }

  /** Refuses unless the entry is blocked, if it has to be. */
  boolean blocked() {
    return !needsTlbTracking()
        || slot.state().isBlocked()
        || refuseWithEntry(TdxStatus.TDX_GPA_RANGE_NOT_BLOCKED);
  }

  /** Refuses unless no stale translation can be left, if TLB tracking applies. */
  boolean tracked() {
    boolean tracked = !needsTlbTracking() || td.epochs().isTracked(pamtEntry().blockingEpoch());
    return call.require(tracked, TdxStatus.TDX_TLB_TRACKING_NOT_DONE, OperandId.RCX);
  }

  /**
   * The PAMT entry of the page that the entry maps, or of the table that it points to. An implicit
   * access: nothing is locked here.
   */
  PamtEntry pamtEntry() {
    int pageLevel = slot.state().isLeaf() ? level() : 0;
    PamtEntry entry = call.module().pamt().entry(slot.hpa(), pageLevel);
    if (!entry.type().isOwned()) {
      throw new IllegalStateException("S-EPT names a page that is " + entry.type() + ": " + slot);
    }
    return entry;
  }

  /** Refuses with this code, and shows the host the entry in RCX and RDX. */
  boolean refuseWithEntry(long code) {
    showEntry();
    return call.refuse(code, OperandId.RCX);
  }

  /** Shows the host the entry in RCX and RDX. */
  void showEntry() {
    long entry = slot.entry();
    call.out().rcx = SeptEntry.view(entry, level());
    call.out().rdx = SeptEntry.levelAndState(entry, level());
  }

  /** Refuses, with the operands as they were, if an event stops a call that is interruptible. */
  boolean uninterrupted() {
    boolean interrupted = call.isInterrupted();
    boolean yields =
        !call.module().config().enhancedDemoteInterruptibility() && td.treeLock().hasHostPriority();
    if (!interrupted && !yields) {
      return true;
    }
    call.out().rcx = call.in().rcx;
    call.out().rdx = call.in().rdx;
    return call.refuse(
        interrupted ? TdxStatus.TDX_INTERRUPTED_RESTARTABLE : TdxStatus.TDX_INTERRUPTED_BUSY);
  }

  /** Refuses unless the PAMT entry of what the entry names can be had; an implicit access. */
  boolean lockPamtEntry() {
    return call.lock(pamtEntry(), LockMode.EXCLUSIVE, OperandId.RCX);
  }

  /**
   * Notes that the mapping ends or is resized: no vCPU that is inside may have entered before it
   * was blocked (I18). To be called while the entry is as it was.
   */
  void retire() {
    if (needsTlbTracking()) {
      boolean blocked = slot.state().isBlocked();
      td.epochs().retire(blocked ? pamtEntry().blockingEpoch() : td.epochs().current());
    }
  }

  private boolean lockEntry() {
    if (call.isContended(OperandId.SEPT_ENTRY)) {
      slot.refuseHost();
      return refuseWithEntry(TdxStatus.TDX_OPERAND_BUSY);
    }
    if (!slot.tryLockByHost()) {
      return refuseWithEntry(TdxStatus.TDX_OPERAND_BUSY);
    }
    call.holdUntilEnd(slot::unlock);
    return true;
  }

  private static @Nullable Td lockTd(Seamcall call, long tdrHpa) {
    clearOutputs(call);
    Td td = TdOperand.lock(call, tdrHpa, LockMode.SHARED, OperandId.RDX);
    return td != null && call.opState(td, OpState.WITH_MEMORY) ? td : null;
  }

  private static @Nullable Td lockTdWhileBuilding(Seamcall call) {
    clearOutputs(call);
    Td td = TdOperand.lock(call, call.in().rdx, LockMode.EXCLUSIVE, OperandId.RDX);
    return td != null && call.opStateUnderTdr(td, ImmutableSet.of(OpState.INITIALIZED)) ? td : null;
  }

  private static boolean isAddress(Seamcall call, Td td, long alignment) {
    long gpa = call.in().rcx;
    return call.require(
        (gpa & alignment - 1) == 0 && td.isPrivate(gpa),
        TdxStatus.TDX_OPERAND_INVALID,
        OperandId.RCX);
  }

  private static void clearOutputs(Seamcall call) {
    call.out().rcx = 0;
    call.out().rdx = 0;
  }

  private static boolean isGpaAndLevel(Seamcall call, Td td, SeptRules rules, long word) {
    int level = (int) (word & LEVEL);
    long gpa = word & GPA;
    boolean formatted = (word & ~LEVEL & ~GPA) == 0 && rules.allowsLevel(level, td);
    boolean right = formatted && (gpa & SeptEntry.bytes(level) - 1) == 0 && td.isPrivate(gpa);
    return call.require(right, TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
  }

  private static @Nullable SeptOperand walk(Seamcall call, Td td, long word) {
    int level = (int) (word & LEVEL);
    SeptOperand operand = new SeptOperand(call, td, td.sept().walk(word & GPA, level));
    if (operand.level() != level) {
      operand.refuseWithEntry(TdxStatus.TDX_EPT_WALK_FAILED);
      return null;
    }
    return operand;
  }
}
