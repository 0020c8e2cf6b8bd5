package dev.septum.tdx;

import dev.septum.kvm.PageLevel;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.TdxStatus;

/**
 * Getting every vCPU to forget a leaf: BLOCK, TRACK, and everybody out of the guest once. mmu_lock
 * held for write.
 */
final class TlbTracking {

  private final KvmTdx kvm;
  private final Seamcalls seamcalls;

  TlbTracking(KvmTdx kvm) {
    this.kvm = kvm;
    this.seamcalls = kvm.tdxHost().seamcalls();
  }

  /** Takes a leaf's permissions away, so that no TLB is filled from it any more. */
  SeamRegs block(long gfn, PageLevel level) {
    return kvm.noVcpus().call(() -> seamcalls.memRangeBlock(kvm.tdr(), gfn, level));
  }

  /** Starts a new epoch and makes every vCPU leave the guest ({@code tdx_track}). */
  SeamRegs track() {
    if (kvm.state() != TdState.RUNNABLE) {
      return new SeamRegs(); // No vCPU has ever run: there is nothing to track.
    }
    SeamRegs result = kvm.noVcpus().call(() -> seamcalls.memTrack(kvm.tdr()));
    if (Seamcalls.isOk(result)) {
      kvm.kickVcpus();
    }
    return result;
  }

  /**
   * Gives a blocked leaf its permissions back. The module wants the leaf tracked first, so a leaf
   * whose TRACK failed is tracked here. False if the module refuses for good.
   */
  boolean unblock(long gfn, PageLevel level) {
    SeamRegs result = unblockOnce(gfn, level);
    if (TdxStatus.code(result.rax) == TdxStatus.TDX_TLB_TRACKING_NOT_DONE
        && Seamcalls.isOk(track())) {
      result = unblockOnce(gfn, level);
    }
    return Seamcalls.isOk(result);
  }

  private SeamRegs unblockOnce(long gfn, PageLevel level) {
    return kvm.noVcpus().call(() -> seamcalls.memRangeUnblock(kvm.tdr(), gfn, level));
  }
}
