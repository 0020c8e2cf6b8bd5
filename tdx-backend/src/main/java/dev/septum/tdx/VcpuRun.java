package dev.septum.tdx;

import dev.septum.kvm.Errno;
import dev.septum.kvm.VcpuStat;
import dev.septum.mmu.KvmMmu;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.LogicalProcessor;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.TdxStatus;
import org.jspecify.annotations.Nullable;

/** The loop around VP.ENTER ({@code vcpu_run}, {@code tdx_vcpu_run}, {@code tdx_handle_exit}). */
final class VcpuRun implements LogicalProcessor {

  private static final int EXIT_EXTERNAL_INTERRUPT = 1;
  private static final int EXIT_EPT_VIOLATION = 48;
  private static final int EXIT_TDCALL = 77;

  private final VcpuTdx vcpu;
  private final KvmTdx kvm;
  private final EptViolations eptViolations;
  private final MapGpa mapGpa;

  /** What goes into the guest at the next entry, and what came out at the last exit. */
  private final SeamRegs regs = new SeamRegs();

  VcpuRun(VcpuTdx vcpu) {
    this.vcpu = vcpu;
    this.kvm = vcpu.td();
    this.eptViolations = new EptViolations(vcpu);
    this.mapGpa = new MapGpa(vcpu);
  }

  RunExit untilUserSpaceIsNeeded() {
    RunExit exit = mapGpa.isPending() ? mapGpa.next(regs) : null;
    while (exit == null) {
      exit = once();
      if (exit == null) {
        // Whoever has what the vCPU was refused must get on: it may be refused again and again.
        kvm.kernel().condResched();
      }
    }
    return exit;
  }

  void completeMapGpa(int result) {
    mapGpa.complete(result);
  }

  private @Nullable RunExit once() {
    if (kvm.isBugged()) {
      return new RunExit.Failed(Errno.EIO, "the VM is bugged: " + kvm.splat());
    }
    if (kvm.state() != TdState.RUNNABLE) {
      return new RunExit.Failed(Errno.EINVAL, "the TD is not finalized");
    }
    Errno error = vcpu.mmu().load();
    if (error.isError()) {
      return new RunExit.Failed(error, "the vCPU's page table caches could not be filled");
    }
    return enter() ? handleExit() : null;
  }

  /** Enters the guest unless a zap waits for it to stay out; false if nothing came of it. */
  private boolean enter() {
    vcpu.guestMode().enter();
    try {
      if (kvm.isWaitingForSeptZap()) {
        return false;
      }
      kvm.tdxHost().seamcalls().vpEnter(vcpu.tdvpr(), regs, this);
    } finally {
      vcpu.guestMode().leave();
    }
    vcpu.stats().increment(VcpuStat.EXITS);
    return !TdxStatus.isBusy(regs.rax);
  }

  private @Nullable RunExit handleExit() {
    if (TdxStatus.isError(regs.rax)) {
      return new RunExit.Failed(Errno.EIO, "TDH_VP_ENTER: " + TdxStatus.describe(regs.rax));
    }
    return switch ((int) regs.rax) {
      case EXIT_EXTERNAL_INTERRUPT -> null;
      case EXIT_EPT_VIOLATION -> eptViolations.handle(regs.r8, regs.rcx, regs.rdx);
      case EXIT_TDCALL -> handleVmcall();
      default -> new RunExit.Failed(Errno.EIO, "unhandled TD exit " + (int) regs.rax);
    };
  }

  private @Nullable RunExit handleVmcall() {
    vcpu.stats().increment(VcpuStat.HYPERCALLS);
    if (regs.r10 == 0 && regs.r11 == Vmcalls.MAP_GPA) {
      return mapGpa.start(regs);
    }
    if (regs.r10 == 0 && regs.r11 == Vmcalls.HLT) {
      regs.r10 = Vmcalls.SUCCESS;
      return new RunExit.Halt();
    }
    regs.r10 = Vmcalls.SUBFUNC_UNSUPPORTED;
    return null;
  }

  @Override
  public boolean isInterruptPending() {
    return vcpu.guestMode().isExitRequested();
  }

  @Override
  public boolean isSharedMapped(long gpaWithoutSharedBit, AccessKind kind) {
    return kvm.mmu()
        .isAccessible(vcpu.mmu(), gpaWithoutSharedBit | kvm.sharedBit(), errorCode(kind));
  }

  static long errorCode(AccessKind kind) {
    return KvmMmu.sharedError(kind == AccessKind.WRITE, kind == AccessKind.EXECUTE);
  }
}
