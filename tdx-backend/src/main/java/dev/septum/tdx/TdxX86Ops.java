package dev.septum.tdx;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;

/** The ops table of the TDX backends ({@code vt_x86_ops}); designs differ behind it. */
final class TdxX86Ops implements KvmX86Ops {

  private final String name;

  TdxX86Ops(String name) {
    this.name = name;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return KvmTdx.of(kvm).secureEpt().link(gfn, level, externalSpt);
  }

  @Override
  public Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    return KvmTdx.of(kvm).secureEpt().map(gfn, level, mirrorSpte);
  }

  @Override
  public Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    return KvmTdx.of(kvm).leafSplit().split(gfn, level, oldMirrorSpte, newExternalSpt, mode);
  }

  @Override
  public void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {
    KvmTdx.of(kvm).secureEpt().remove(gfn, level, oldMirrorSpte);
  }

  @Override
  public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return KvmTdx.of(kvm).secureEpt().reclaimTable(externalSpt);
  }

  @Override
  public long allocExternalFaultCache(Vcpu vcpu) {
    return ((VcpuTdx) vcpu).faultCache().allocSeptPage();
  }

  @Override
  public Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return ((VcpuTdx) vcpu).faultCache().topup(count);
  }

  @Override
  public void freeExternalFaultCache(Vcpu vcpu) {
    ((VcpuTdx) vcpu).faultCache().free();
  }

  @Override
  public Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return KvmTdx.of(kvm).splitCache().topup(level);
  }

  @Override
  public boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return KvmTdx.of(kvm).splitCache().needsTopup(level);
  }

  @Override
  public void freeExternalPerVmSplitCache(Kvm kvm) {
    KvmTdx.of(kvm).splitCache().free();
  }

  /** {@code tdx_gmem_max_mapping_level}: 2M once the TD runs, if DEMOTE can be relied on. */
  @Override
  public PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    KvmTdx td = KvmTdx.of(kvm);
    if (!isPrivate) {
      return PageLevel.NONE;
    }
    return td.state() == TdState.RUNNABLE && td.tdxHost().supportsHugePages()
        ? PageLevel.LEVEL_2M
        : PageLevel.LEVEL_4K;
  }
}
