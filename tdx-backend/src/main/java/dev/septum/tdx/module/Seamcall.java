package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Set;

/**
 * One SEAMCALL in progress: its operands, its results, and the locks it holds.
 *
 * <p>Each check either goes through or refuses: it sets the status, and returns false or null,
 * after which the leaf returns at once. Whatever was locked is unlocked on {@link #close}, last one
 * first.
 */
final class Seamcall implements AutoCloseable {

  /** The operand that stands for "no page". */
  static final long NULL_PA = -1;

  private final ModuleState module;
  private final LogicalProcessor processor;
  private final Injected injected;
  private final SeamRegs in = new SeamRegs();
  private final SeamRegs out;
  private final Deque<Runnable> releases = new ArrayDeque<>();

  Seamcall(ModuleState module, SeamRegs regs, LogicalProcessor processor, Injected injected) {
    this.module = module;
    this.processor = processor;
    this.injected = injected;
    in.copyFrom(regs);
    out = regs;
    out.rax = TdxStatus.TDX_SUCCESS;
  }

  ModuleState module() {
    return module;
  }

  LogicalProcessor processor() {
    return processor;
  }

  /** The registers as the host passed them. */
  SeamRegs in() {
    return in;
  }

  /** The registers as the host will see them. */
  SeamRegs out() {
    return out;
  }

  /** The leaf's version, RAX bits 23:16. */
  int version() {
    return (int) (in.rax >>> 16) & 0xFF;
  }

  /** Refuses a version above {@code highest}, of a leaf that has versions. */
  boolean isVersion(int highest) {
    return require(version() <= highest, TdxStatus.TDX_OPERAND_INVALID, OperandId.RAX);
  }

  /** Version 1 of a leaf that removes tables: none of nested VMs' came back. */
  void clearNestedPages() {
    if (version() > 0) {
      out.r9 = NULL_PA;
      out.r10 = NULL_PA;
      out.r11 = NULL_PA;
    }
  }

  /** Whether an event is pending that stops a vCPU, whatever the host's RFLAGS. */
  boolean isGuestInterrupted() {
    return injected.interrupted() || processor.isInterruptPending() || processor.isNmiPending();
  }

  /** Ends the call with this status; returns false, for the caller to pass on. */
  boolean refuse(long code, long detail) {
    out.rax = code | detail;
    return false;
  }

  /** Ends the call with a status that has no detail. */
  boolean refuse(long code) {
    return refuse(code, 0);
  }

  /** Refuses unless {@code holds}. */
  boolean require(boolean holds, long code, long detail) {
    return holds || refuse(code, detail);
  }

  /** Refuses unless {@code holds}, with a status that has no detail. */
  boolean require(boolean holds, long code) {
    return require(holds, code, 0);
  }

  /** Takes a lock until the end of the call; refuses with BUSY. */
  boolean lock(TryLock lock, LockMode mode, int operand) {
    if (!lockBriefly(lock, mode, operand)) {
      return false;
    }
    holdUntilEnd(() -> lock.unlock(mode));
    return true;
  }

  /** Takes a lock that the caller gives back before the end of the call; refuses with BUSY. */
  boolean lockBriefly(TryLock lock, LockMode mode, int operand) {
    if (isContended(operand)) {
      lock.refuse();
      return refuse(TdxStatus.TDX_OPERAND_BUSY, operand);
    }
    return require(lock.tryLock(mode), TdxStatus.TDX_OPERAND_BUSY, operand);
  }

  /** Whether the next attempt to lock {@code operand} must fail; asking uses it up. */
  boolean isContended(int operand) {
    return injected.takeContention(operand);
  }

  /** Whether an event is pending that stops an interruptible call. */
  boolean isInterrupted() {
    return injected.interrupted()
        || processor.isNmiPending()
        || (processor.areInterruptsEnabled() && processor.isInterruptPending());
  }

  /** Runs {@code release} at the end of the call. */
  void holdUntilEnd(Runnable release) {
    releases.push(release);
  }

  /** Takes OP_STATE shared and refuses unless the TD is in one of these states (P5, P6). */
  boolean opState(Td td, Set<OpState> allowed) {
    return lock(td.opStateLock(), LockMode.SHARED, OperandId.OP_STATE)
        && opStateUnderTdr(td, allowed);
  }

  /** Refuses unless the TD is in one of these states; the TDR is held exclusively (P6). */
  boolean opStateUnderTdr(Td td, Set<OpState> allowed) {
    return require(
        allowed.contains(td.opState), TdxStatus.TDX_OP_STATE_INCORRECT, td.opState.number());
  }

  @Override
  public void close() {
    try {
      injected.runMeanwhile();
    } finally {
      while (!releases.isEmpty()) {
        releases.pop().run();
      }
    }
  }
}
