package dev.septum.kit;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;

/** Ops that pass every call on; a subclass adds to the ones it cares for. */
abstract class ForwardingOps implements KvmX86Ops {

  private final KvmX86Ops delegate;

  ForwardingOps(KvmX86Ops delegate) {
    this.delegate = delegate;
  }

  @Override
  public String name() {
    return delegate.name();
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return delegate.linkExternalSpt(kvm, gfn, level, externalSpt);
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    return delegate.setExternalSpte(kvm, gfn, level, mirrorSpte);
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    return delegate.splitExternalSpte(kvm, gfn, level, oldMirrorSpte, newExternalSpt, mode);
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    delegate.removeExternalSpte(kvm, gfn, level, oldMirrorSpte);
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return delegate.freeExternalSpt(kvm, gfn, level, externalSpt);
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return delegate.allocExternalFaultCache(vcpu);
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return delegate.topupExternalFaultCache(vcpu, count);
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    delegate.freeExternalFaultCache(vcpu);
  }

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return delegate.topupExternalPerVmSplitCache(kvm, level);
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return delegate.needTopupExternalPerVmSplitCache(kvm, level);
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm kvm) {
    delegate.freeExternalPerVmSplitCache(kvm);
  }

  @Override
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    return delegate.gmemMaxMappingLevel(kvm, pfn, isPrivate);
  }
}
