package dev.septum.tdx;

import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Vcpu;
import dev.septum.mmu.PreFault;
import dev.septum.mmu.VcpuMmu;
import dev.septum.tdx.module.TdGuest;
import java.util.ArrayList;
import java.util.List;

/** A vCPU of a TD ({@code struct vcpu_tdx}). */
public final class VcpuTdx extends Vcpu {

  private final KvmTdx kvm;
  private final FaultCache faultCache;
  private final VcpuMmu mmu;
  private final VcpuRun run;
  private long tdvpr = PageAllocator.NO_PAGE;
  private final List<Long> tdcx = new ArrayList<>();

  VcpuTdx(KvmTdx kvm, int id) {
    super(kvm, id);
    this.kvm = kvm;
    this.faultCache = kvm.design().faultCaches().of(kvm.tdxHost());
    this.mmu = kvm.mmu().addVcpu(this);
    this.run = new VcpuRun(this);
  }

  /** The TD. */
  public KvmTdx td() {
    return kvm;
  }

  /** The vCPU's MMU state. */
  public VcpuMmu mmu() {
    return mmu;
  }

  /** Says what runs on the vCPU. */
  public void boot(TdGuest guest) {
    kvm.tdxHost().module().attachGuest(tdvpr << 12, guest);
  }

  /** Runs the guest until user space is needed ({@code KVM_RUN}). No lock held. */
  public RunExit run() {
    load();
    try {
      return run.untilUserSpaceIsNeeded();
    } finally {
      put();
      kvm.kernel().locks().assertNoneHeld("the end of KVM_RUN");
    }
  }

  /** Maps memory ahead of the guest's first access ({@code KVM_PRE_FAULT_MEMORY}). No lock held. */
  public PreFault preFault(long gpa, long size) {
    load();
    try {
      return mmu.preFault(gpa, size);
    } finally {
      put();
    }
  }

  /** Tells the vCPU what user space made of its last exit; 0 is success. */
  public void completeExit(int result) {
    run.completeMapGpa(result);
  }

  /** Pages that wait in the vCPU's cache for new S-EPT pages only. */
  public int cachedSeptPages() {
    return faultCache.septPages();
  }

  /** Pages that wait in the vCPU's cache for the PAMT, or for either if it is mixed. */
  public int cachedPamtPages() {
    return faultCache.pamtPages().count();
  }

  /** Runs a body as this vCPU's own thread does, between {@code vcpu_load} and {@code vcpu_put}. */
  public void asRunning(Runnable body) {
    load();
    try {
      body.run();
    } finally {
      put();
    }
  }

  FaultCache faultCache() {
    return faultCache;
  }

  PamtCache pamtCache() {
    return faultCache.pamtPages();
  }

  long tdvpr() {
    return tdvpr;
  }

  void setTdvpr(long pfn) {
    tdvpr = pfn;
  }

  List<Long> tdcx() {
    return tdcx;
  }
}
