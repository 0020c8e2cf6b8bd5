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

  private final ModuleState module;
  private final LogicalProcessor processor;
  private final SeamRegs in = new SeamRegs();
  private final SeamRegs out;
  private final Deque<Runnable> releases = new ArrayDeque<>();

  Seamcall(ModuleState module, SeamRegs regs, LogicalProcessor processor) {
    this.module = module;
    this.processor = processor;
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
    if (!lock.tryLock(mode)) {
      return refuse(TdxStatus.TDX_OPERAND_BUSY, operand);
    }
    holdUntilEnd(() -> lock.unlock(mode));
    return true;
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
    while (!releases.isEmpty()) {
      releases.pop().run();
    }
  }
}
