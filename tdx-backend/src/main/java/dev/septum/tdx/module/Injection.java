package dev.septum.tdx.module;

import static com.google.common.base.Preconditions.checkArgument;

import java.util.function.Predicate;

/**
 * Which calls of a leaf are disturbed, and how: {@code
 * injector.on(leaf).next(2).contend(OperandId.SEPT_TREE)}. Unless it is said otherwise, it is the
 * next call. The last method of the chain makes it so.
 */
public final class Injection {

  /** What happens to a call. */
  interface Effect {
    void applyTo(Injected call);
  }

  /**
   * One arrangement.
   *
   * @param operands the calls that it is about
   * @param number the call's number since the module was loaded, or 0
   * @param due in how many calls that it is about it is due; 0 is always
   */
  record Rule(Predicate<SeamRegs> operands, long number, long due, Effect effect) {

    boolean concerns(SeamRegs regs, long callNumber) {
      return (number == 0 || number == callNumber) && operands.test(regs);
    }

    boolean isDue() {
      return due <= 1;
    }

    boolean isSpent() {
      return due == 1;
    }

    Rule afterOneCall() {
      return due == 0 ? this : new Rule(operands, number, due - 1, effect);
    }
  }

  private final SeamcallInjector injector;
  private final SeamcallLeaf leaf;
  private Predicate<SeamRegs> operands = regs -> true;
  private long number;
  private long due = 1;

  Injection(SeamcallInjector injector, SeamcallLeaf leaf) {
    this.injector = injector;
    this.leaf = leaf;
  }

  /** Only calls with such operands. */
  public Injection where(Predicate<SeamRegs> asked) {
    operands = asked;
    return this;
  }

  /** The {@code nth} such call from now on; 1 is the next one. */
  public Injection next(long nth) {
    checkArgument(nth >= 1, "call numbers start at 1, not %s", nth);
    due = nth;
    return this;
  }

  /** The call with this number among the leaf's, counted from 1 since the module was loaded. */
  public Injection number(long callNumber) {
    checkArgument(callNumber >= 1, "call numbers start at 1, not %s", callNumber);
    number = callNumber;
    return this;
  }

  /** Every such call, until {@link SeamcallInjector#clear}. */
  public Injection always() {
    due = 0;
    return this;
  }

  /** The call ends with {@code status} before the leaf's code runs: nothing changes. */
  public void fail(long status) {
    add(call -> call.fail(status));
  }

  /**
   * The call finds a lock taken, and leaves HOST_PRIORITY behind as it would: that of this operand,
   * as the BUSY status names it. {@link OperandId#SEPT_ENTRY} is the lock of the S-EPT entry, which
   * the status calls RCX; for VP.ENTER it is the one that the guest's first ACCEPT wants.
   */
  public void contend(int operand) {
    add(call -> call.contend(operand));
  }

  /** An event is pending all through the call. */
  public void interrupt() {
    add(Injected::interrupt);
  }

  /** {@code body} runs when the leaf is through, while the call still holds all its locks. */
  public void meanwhile(Runnable body) {
    add(call -> call.runMeanwhile(body));
  }

  private void add(Effect effect) {
    injector.add(leaf, new Rule(operands, number, due, effect));
  }
}
