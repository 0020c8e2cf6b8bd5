package dev.septum.kvm;

import dev.septum.kernel.LockMode;

/**
 * A backend's ops, each called under the locks that {@link KvmX86Ops} documents or reported: a
 * violation is the caller's, whatever the backend does with its op.
 */
final class LockCheckedOps implements KvmX86Ops {

  private final KvmX86Ops ops;

  LockCheckedOps(KvmX86Ops ops) {
    this.ops = ops;
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    kvm.mmuLock().assertHeld(LockMode.SHARED);
    return ops.linkExternalSpt(kvm, gfn, level, externalSpt);
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    kvm.mmuLock().assertHeld(LockMode.SHARED);
    return ops.setExternalSpte(kvm, gfn, level, mirrorSpte);
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    kvm.mmuLock().assertHeld(mode);
    return ops.splitExternalSpte(kvm, gfn, level, oldMirrorSpte, newExternalSpt, mode);
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    ops.removeExternalSpte(kvm, gfn, level, oldMirrorSpte);
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    return ops.freeExternalSpt(kvm, gfn, level, externalSpt);
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return ops.allocExternalFaultCache(vcpu);
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    vcpu.kvm().kernel().locks().mightSleep("topup_external_fault_cache");
    return ops.topupExternalFaultCache(vcpu, count);
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    ops.freeExternalFaultCache(vcpu);
  }

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    kvm.kernel().locks().mightSleep("topup_external_per_vm_split_cache");
    return ops.topupExternalPerVmSplitCache(kvm, level);
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    kvm.mmuLock().assertHeld();
    return ops.needTopupExternalPerVmSplitCache(kvm, level);
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm kvm) {
    ops.freeExternalPerVmSplitCache(kvm);
  }

  @Override
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    return ops.gmemMaxMappingLevel(kvm, pfn, isPrivate);
  }
}
