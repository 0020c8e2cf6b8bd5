package dev.septum.lab.backend;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import java.util.function.Supplier;

/** A foreign backend's ops under watch. */
final class WatchedOps implements KvmX86Ops {

  private final String backend;
  private final KvmX86Ops ops;
  private final OpWatch watch;

  WatchedOps(String backend, KvmX86Ops ops, OpWatch watch) {
    this.backend = backend;
    this.ops = ops;
    this.watch = watch;
  }

  private <T> T call(Kvm kvm, String op, Supplier<T> body) {
    return watch.call(new BackendCall(backend, kvm, op), body);
  }

  private <T> T call(Kvm kvm, String op, long gfn, PageLevel level, Supplier<T> body) {
    return watch.call(new BackendCall(backend, kvm, op, gfn, level), body);
  }

  private void run(Kvm kvm, String op, Runnable body) {
    call(
        kvm,
        op,
        () -> {
          body.run();
          return op;
        });
  }

  @Override
  public String name() {
    return backend;
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return call(
        kvm,
        "link_external_spt",
        gfn,
        level,
        () -> ops.linkExternalSpt(kvm, gfn, level, externalSpt));
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    return call(
        kvm,
        "set_external_spte",
        gfn,
        level,
        () -> ops.setExternalSpte(kvm, gfn, level, mirrorSpte));
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    return call(
        kvm,
        "split_external_spte",
        gfn,
        level,
        () -> ops.splitExternalSpte(kvm, gfn, level, oldMirrorSpte, newExternalSpt, mode));
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    call(
        kvm,
        "remove_external_spte",
        gfn,
        level,
        () -> {
          ops.removeExternalSpte(kvm, gfn, level, oldMirrorSpte);
          return level;
        });
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return call(
        kvm,
        "free_external_spt",
        gfn,
        level,
        () -> ops.freeExternalSpt(kvm, gfn, level, externalSpt));
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return call(vcpu.kvm(), "alloc_external_fault_cache", () -> ops.allocExternalFaultCache(vcpu));
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return call(
        vcpu.kvm(), "topup_external_fault_cache", () -> ops.topupExternalFaultCache(vcpu, count));
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    run(vcpu.kvm(), "free_external_fault_cache", () -> ops.freeExternalFaultCache(vcpu));
  }

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return call(
        kvm,
        "topup_external_per_vm_split_cache",
        () -> ops.topupExternalPerVmSplitCache(kvm, level));
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return call(
        kvm,
        "need_topup_external_per_vm_split_cache",
        () -> ops.needTopupExternalPerVmSplitCache(kvm, level));
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm kvm) {
    run(kvm, "free_external_per_vm_split_cache", () -> ops.freeExternalPerVmSplitCache(kvm));
  }

  @Override
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    return call(kvm, "gmem_max_mapping_level", () -> ops.gmemMaxMappingLevel(kvm, pfn, isPrivate));
  }
}
