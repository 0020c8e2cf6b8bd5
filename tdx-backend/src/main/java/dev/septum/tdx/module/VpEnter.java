package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;

/** TDH.VP.ENTER: runs the vCPU in RCX until something needs the host. */
final class VpEnter {

  private static final long HPA = 0x000F_FFFF_FFFF_F000L;

  /** Bits 52 and 53: recoverability hint, and resume L1. */
  private static final long FLAGS = 3L << 52;

  private static final ImmutableSet<OpState> RUNNABLE = ImmutableSet.of(OpState.RUNNABLE);

  private VpEnter() {}

  /** TDVPR and TDR stay locked, shared, for as long as the vCPU is inside. */
  static void run(Seamcall call) {
    long rcx = call.in().rcx;
    TdVcpu vcpu = TdOperand.lockVcpu(call, rcx & ~FLAGS, LockMode.SHARED, OperandId.RCX);
    if (vcpu != null
        && isRunnable(call, vcpu)
        && claim(call, vcpu)
        && isFreeOfZeroSteps(call, vcpu)) {
      runInEpoch(call, vcpu, rcx & HPA);
    }
  }

  /** Checks OP_STATE and vCPU state; OP_STATE is locked no longer than that. */
  private static boolean isRunnable(Seamcall call, TdVcpu vcpu) {
    HostPriorityLock lock = vcpu.td().opStateLock();
    if (!call.lockBriefly(lock, LockMode.SHARED, OperandId.OP_STATE)) {
      return false;
    }
    boolean runnable =
        call.opStateUnderTdr(vcpu.td(), RUNNABLE)
            && call.require(
                vcpu.state == VcpuState.READY,
                TdxStatus.TDX_VCPU_STATE_INCORRECT,
                vcpu.state.number());
    lock.unlock(LockMode.SHARED);
    return runnable;
  }

  /** Refuses a vCPU that is inside already, or whose state another processor may cache. */
  private static boolean claim(Seamcall call, TdVcpu vcpu) {
    if (!vcpu.tryStartRunning()) {
      return call.refuse(TdxStatus.TDX_VCPU_ASSOCIATED);
    }
    call.holdUntilEnd(vcpu::stopRunning);
    return call.require(
        !vcpu.isAssociated() || vcpu.isAssociatedWith(call.processor().number()),
        TdxStatus.TDX_VCPU_ASSOCIATED);
  }

  /** After many faults at one RIP the entry looks at the S-EPT, which needs the tree. */
  private static boolean isFreeOfZeroSteps(Seamcall call, TdVcpu vcpu) {
    if (!vcpu.zeroSteps.isArmed()) {
      return true;
    }
    HostPriorityLock tree = vcpu.td().treeLock();
    if (!call.lockBriefly(tree, LockMode.SHARED, OperandId.SEPT_TREE)) {
      return false;
    }
    TdExit.Violation repeated = vcpu.zeroSteps.repeated(vcpu.td().sept());
    tree.unlock(LockMode.SHARED);
    if (repeated == null) {
      return true;
    }
    new TdExit(call.out()).eptViolation(repeated);
    return false;
  }

  private static void runInEpoch(Seamcall call, TdVcpu vcpu, long tdvprHpa) {
    TlbEpochs epochs = vcpu.td().epochs();
    if (!call.lockBriefly(epochs.lock(), LockMode.SHARED, OperandId.TD_EPOCH)) {
      return;
    }
    long epoch = epochs.enter();
    vcpu.epoch().set(epoch);
    epochs.lock().unlock(LockMode.SHARED);
    vcpu.associate(call.processor().number());
    try {
      guestRun(call, vcpu, tdvprHpa).untilExit(call.in());
    } finally {
      epochs.leave(epoch);
    }
  }

  private static GuestRun guestRun(Seamcall call, TdVcpu vcpu, long tdvprHpa) {
    TdGuest guest = call.module().guests.get(tdvprHpa);
    if (guest == null) {
      throw new IllegalStateException(
          "no guest is attached to TDVPR 0x" + Long.toHexString(tdvprHpa));
    }
    return new GuestRun(call, vcpu, guest);
  }
}
