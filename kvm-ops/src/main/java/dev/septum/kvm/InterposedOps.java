package dev.septum.kvm;

import dev.septum.kernel.LockMode;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Ops between KVM and a backend, for {@link Kvm#watchOps}: every call is passed on by way of {@link
 * #around}. A subclass overrides that, or the ops that it cares for.
 */
public abstract class InterposedOps implements KvmX86Ops {

  private final KvmX86Ops delegate;

  /** Passes every call on to {@code delegate}. */
  protected InterposedOps(KvmX86Ops delegate) {
    this.delegate = delegate;
  }

  /**
   * One call of an op.
   *
   * @param op the kernel's name of it
   * @param gfn the first frame, 0 for ops without one
   * @param level the level of the call, null for ops on caches and files
   * @param call the call, to be made once
   */
  protected <T> T around(
      Kvm kvm, String op, long gfn, @Nullable PageLevel level, Supplier<T> call) {
    return call.get();
  }

  private void around(Kvm kvm, String op, long gfn, @Nullable PageLevel level, Runnable call) {
    Errno unused =
        around(
            kvm,
            op,
            gfn,
            level,
            () -> {
              call.run();
              return Errno.OK;
            });
  }

  @Override
  public String name() {
    return delegate.name();
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return around(
        kvm,
        "link_external_spt",
        gfn,
        level,
        () -> delegate.linkExternalSpt(kvm, gfn, level, externalSpt));
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    return around(
        kvm,
        "set_external_spte",
        gfn,
        level,
        () -> delegate.setExternalSpte(kvm, gfn, level, mirrorSpte));
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    return around(
        kvm,
        "split_external_spte",
        gfn,
        level,
        () -> delegate.splitExternalSpte(kvm, gfn, level, oldMirrorSpte, newExternalSpt, mode));
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    around(
        kvm,
        "remove_external_spte",
        gfn,
        level,
        () -> delegate.removeExternalSpte(kvm, gfn, level, oldMirrorSpte));
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return around(
        kvm,
        "free_external_spt",
        gfn,
        level,
        () -> delegate.freeExternalSpt(kvm, gfn, level, externalSpt));
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return around(
        vcpu.kvm(),
        "alloc_external_fault_cache",
        0,
        null,
        () -> delegate.allocExternalFaultCache(vcpu));
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return around(
        vcpu.kvm(),
        "topup_external_fault_cache",
        0,
        null,
        () -> delegate.topupExternalFaultCache(vcpu, count));
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    around(
        vcpu.kvm(),
        "free_external_fault_cache",
        0,
        null,
        () -> delegate.freeExternalFaultCache(vcpu));
  }

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return around(
        kvm,
        "topup_external_per_vm_split_cache",
        0,
        null,
        () -> delegate.topupExternalPerVmSplitCache(kvm, level));
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return around(
        kvm,
        "need_topup_external_per_vm_split_cache",
        0,
        null,
        () -> delegate.needTopupExternalPerVmSplitCache(kvm, level));
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm kvm) {
    around(
        kvm,
        "free_external_per_vm_split_cache",
        0,
        null,
        () -> delegate.freeExternalPerVmSplitCache(kvm));
  }

  @Override
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    return around(
        kvm,
        "gmem_max_mapping_level",
        0,
        null,
        () -> delegate.gmemMaxMappingLevel(kvm, pfn, isPrivate));
  }
}
