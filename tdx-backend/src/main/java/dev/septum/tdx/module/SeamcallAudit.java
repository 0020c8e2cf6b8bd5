package dev.septum.tdx.module;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * A door to a module that looks at all of it before and after every call: a call that fails must
 * have changed nothing (I22). For one thread at a time, and for modules of a few GiB.
 */
public final class SeamcallAudit {

  /** Executes SEAMCALLs. */
  interface Target {
    void seamcall(SeamRegs regs, LogicalProcessor processor);
  }

  private final ModuleState state;
  private final Target target;
  private final List<String> violations = new ArrayList<>();

  /** Watches the calls to {@code module} that are made here. */
  public SeamcallAudit(TdxModule module) {
    this(module.state(), module::seamcall);
  }

  SeamcallAudit(ModuleState state, Target target) {
    this.state = state;
    this.target = target;
  }

  /** Executes a SEAMCALL as {@link TdxModule#seamcall(SeamRegs, LogicalProcessor)}. */
  public void seamcall(SeamRegs regs, LogicalProcessor processor) {
    int leaf = (int) regs.rax & 0xFFFF;
    ModuleSnapshot before = ModuleSnapshot.of(state);
    target.seamcall(regs, processor);
    if (hasFailed(regs.rax)) {
      check(leaf, regs.rax, before.differences(ModuleSnapshot.of(state)));
    }
  }

  /** One sentence for each invariant that does not hold now, or did not hold across a call. */
  public List<String> violations() {
    List<String> all = new ArrayList<>(violations);
    all.addAll(new ModuleInvariants(state).violations());
    return all;
  }

  /** A vCPU that left because it waited too long was inside, and may have done a lot. */
  private static boolean hasFailed(long status) {
    return !TdxStatus.isSuccess(status)
        && TdxStatus.code(status) != TdxStatus.TDX_HOST_PRIORITY_BUSY_TIMEOUT;
  }

  private void check(int leaf, long status, Set<String> changed) {
    if (!changed.isEmpty()) {
      String name = SeamcallLeaf.of(leaf).map(SeamcallLeaf::kernelName).orElse("leaf " + leaf);
      violations.add(
          String.format(
              "I22: %s ended with %s and changed %s",
              name, TdxStatus.describe(status), String.join(", ", changed)));
    }
  }
}
