package dev.septum.kit;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuView;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Takes note of every call of an op, between KVM and the backend. */
final class OpLog implements KvmX86Ops {

  private final KvmX86Ops backend;
  private final Kvm kvm;
  private final MmuView mirror;
  private final Queue<OpCall> calls = new ConcurrentLinkedQueue<>();
  private final Set<String> inProgress = ConcurrentHashMap.newKeySet();

  OpLog(KvmX86Ops backend, KvmMmu mmu) {
    this.backend = backend;
    this.kvm = mmu.kvm();
    this.mirror = new MmuView(mmu);
  }

  /** The calls since the last time. */
  List<OpCall> take() {
    List<OpCall> taken = List.copyOf(calls);
    calls.clear();
    return taken;
  }

  boolean isOf(Kvm other) {
    return kvm == other;
  }

  /** An op that has not returned, or null. */
  @Nullable String hanging() {
    return inProgress.stream().findFirst().orElse(null);
  }

  @Override
  public String name() {
    return backend.name();
  }

  private @Nullable LockMode mode() {
    for (LockMode mode : LockMode.values()) {
      if (kvm.mmuLock().isHeld(mode)) {
        return mode;
      }
    }
    return null;
  }

  private <T> T note(String op, long gfn, @Nullable PageLevel level, Supplier<T> body) {
    @Nullable Long during = level == null ? null : mirror.mirrorSpte(gfn, level);
    inProgress.add(op);
    @Nullable T result = null;
    try {
      result = body.get();
      return result;
    } finally {
      inProgress.remove(op);
      Errno status = result instanceof Errno errno ? errno : Errno.OK;
      calls.add(new OpCall(op, gfn, level, kvm.kernel().locks().held(), mode(), during, status));
    }
  }

  private void note(String op, long gfn, @Nullable PageLevel level, Runnable body) {
    note(
        op,
        gfn,
        level,
        () -> {
          body.run();
          return Errno.OK;
        });
  }

  @Override
  public Errno linkExternalSpt(Kvm vm, long gfn, PageLevel level, long externalSpt) {
    return note(
        "link_external_spt",
        gfn,
        level,
        () -> backend.linkExternalSpt(vm, gfn, level, externalSpt));
  }

  @Override
  public Errno setExternalSpte(Kvm vm, long gfn, PageLevel level, long mirrorSpte) {
    return note(
        "set_external_spte", gfn, level, () -> backend.setExternalSpte(vm, gfn, level, mirrorSpte));
  }

  @Override
  public Errno splitExternalSpte(
      Kvm vm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    return note(
        "split_external_spte",
        gfn,
        level,
        () -> backend.splitExternalSpte(vm, gfn, level, oldMirrorSpte, newExternalSpt, mode));
  }

  @Override
  public void removeExternalSpte(Kvm vm, long gfn, PageLevel level, long oldMirrorSpte) {
    note(
        "remove_external_spte",
        gfn,
        level,
        () -> backend.removeExternalSpte(vm, gfn, level, oldMirrorSpte));
  }

  @Override
  public Errno freeExternalSpt(Kvm vm, long gfn, PageLevel level, long externalSpt) {
    return note(
        "free_external_spt",
        gfn,
        level,
        () -> backend.freeExternalSpt(vm, gfn, level, externalSpt));
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return note("alloc_external_fault_cache", 0, null, () -> backend.allocExternalFaultCache(vcpu));
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return note(
        "topup_external_fault_cache", 0, null, () -> backend.topupExternalFaultCache(vcpu, count));
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    note("free_external_fault_cache", 0, null, () -> backend.freeExternalFaultCache(vcpu));
  }

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm vm, PageLevel level) {
    return note(
        "topup_external_per_vm_split_cache",
        0,
        null,
        () -> backend.topupExternalPerVmSplitCache(vm, level));
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm vm, PageLevel level) {
    return note(
        "need_topup_external_per_vm_split_cache",
        0,
        null,
        () -> backend.needTopupExternalPerVmSplitCache(vm, level));
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm vm) {
    note(
        "free_external_per_vm_split_cache", 0, null, () -> backend.freeExternalPerVmSplitCache(vm));
  }

  @Override
  public PageLevel gmemMaxMappingLevel(Kvm vm, long pfn, boolean isPrivate) {
    return note(
        "gmem_max_mapping_level", 0, null, () -> backend.gmemMaxMappingLevel(vm, pfn, isPrivate));
  }
}
