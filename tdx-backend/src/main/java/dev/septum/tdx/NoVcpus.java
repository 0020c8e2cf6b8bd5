package dev.septum.tdx;

import dev.septum.kernel.LockMode;
import dev.septum.tdx.module.SeamRegs;
import java.util.function.Supplier;

/**
 * SEAMCALLs that running vCPUs can disturb ({@code tdh_do_no_vcpus}).
 *
 * <p>A call that meets BUSY is done once more after every vCPU has left the guest and while none
 * may enter; its second answer is final. mmu_lock held for write.
 */
final class NoVcpus {

  private final KvmTdx kvm;

  NoVcpus(KvmTdx kvm) {
    this.kvm = kvm;
  }

  SeamRegs call(Supplier<SeamRegs> seamcall) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    SeamRegs first = seamcall.get();
    if (!Seamcalls.isBusy(first)) {
      return first;
    }
    kvm.counters().increment(TdxCounter.BUSY_RETRIES);
    kvm.setWaitForSeptZap(true);
    try {
      kvm.kickVcpus();
      return seamcall.get();
    } finally {
      kvm.setWaitForSeptZap(false);
    }
  }
}
