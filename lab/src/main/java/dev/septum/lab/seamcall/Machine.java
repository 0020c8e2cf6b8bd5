package dev.septum.lab.seamcall;

import dev.septum.kernel.Kernel;
import dev.septum.tdx.module.LogicalProcessor;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdParams;
import dev.septum.tdx.module.TdxModule;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import java.util.Optional;

/** A fresh module, the host memory under it, and the software that runs on every vCPU. */
final class Machine {

  /** Where every TD's TD_PARAMS are. */
  static final long TD_PARAMS = 0x1000;

  private final TdxModule module;
  private final ScriptedGuest guest = new ScriptedGuest();
  private final HostPages pages;
  private long calls;

  Machine(TdxModuleConfig config, long memoryBytes) {
    module = new TdxModule(Kernel.host(), config, memoryBytes);
    module.writeTdParams(TD_PARAMS, TdParams.defaults());
    pages = new HostPages(this, memoryBytes);
  }

  TdxModule module() {
    return module;
  }

  ScriptedGuest guest() {
    return guest;
  }

  HostPages pages() {
    return pages;
  }

  /** SEAMCALLs so far. */
  long calls() {
    return calls;
  }

  /** Makes the call; results replace operands. A vCPU that it creates runs {@link #guest}. */
  void call(SeamRegs regs) {
    calls++;
    Optional<SeamcallLeaf> leaf = leafOf(regs);
    long rcx = regs.rcx;
    boolean enters = leaf.filter(l -> l == SeamcallLeaf.TDH_VP_ENTER).isPresent();
    module.seamcall(regs, enters ? guest : LogicalProcessor.NONE);
    boolean creates = leaf.filter(l -> l == SeamcallLeaf.TDH_VP_CREATE).isPresent();
    if (creates && TdxStatus.isSuccess(regs.rax)) {
      module.attachGuest(rcx, guest);
    }
  }

  /** Makes a call that a command needs to go on. */
  SeamRegs mustCall(SeamRegs regs) throws StepFailedException {
    SeamcallLeaf leaf = leafOf(regs).orElseThrow();
    call(regs);
    if (!TdxStatus.isSuccess(regs.rax)) {
      throw new StepFailedException(leaf, regs.rax);
    }
    return regs;
  }

  static Optional<SeamcallLeaf> leafOf(SeamRegs regs) {
    return SeamcallLeaf.of((int) regs.rax & 0xFFFF);
  }
}
