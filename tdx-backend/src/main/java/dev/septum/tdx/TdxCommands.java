package dev.septum.tdx;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.TdParams;
import dev.septum.tdx.module.TdxStatus;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The life of a TD: what user space asks for by KVM_MEMORY_ENCRYPT_OP, and its end.
 *
 * <p>A command that fails returns its errno; the TD can then only be destroyed, which gives back
 * whatever the command had taken. No lock held.
 */
public final class TdxCommands {

  private static final Logger log = LoggerFactory.getLogger(TdxCommands.class);
  private static final int TDCS_PAGES = 6;
  private static final int VCPU_TDCX_PAGES = 5;
  private static final int EXTEND_CHUNK = 256;

  private final KvmTdx kvm;
  private final TdxHost tdxHost;
  private final Seamcalls seamcalls;

  /** The commands on one TD. */
  public TdxCommands(KvmTdx kvm) {
    this.kvm = kvm;
    this.tdxHost = kvm.tdxHost();
    this.seamcalls = tdxHost.seamcalls();
  }

  /**
   * Creates the TD in the module ({@code KVM_TDX_INIT_VM}).
   *
   * @return EINVAL if the TD has been created, or wants 52-bit GPAs where there are none; EBUSY
   *     without a free HKID; ENOMEM; EIO if the module refuses
   */
  public Errno initVm(TdParams params) {
    if (kvm.state() != TdState.UNINITIALIZED || kvm.tdr() != PageAllocator.NO_PAGE) {
      return Errno.EINVAL;
    }
    if (params.gpaw() && !tdxHost.supportsFiveLevels()) {
      return Errno.EINVAL;
    }
    int hkid = tdxHost.allocHkid();
    if (hkid < 0) {
      return Errno.EBUSY;
    }
    long tdr = tdxHost.controlPages().alloc();
    if (tdr == PageAllocator.NO_PAGE) {
      tdxHost.freeHkid(hkid);
      return Errno.ENOMEM;
    }
    SeamRegs created = seamcalls.mngCreate(tdr, hkid);
    if (!Seamcalls.isOk(created)) {
      tdxHost.controlPages().free(tdr);
      tdxHost.freeHkid(hkid);
      return check("TDH_MNG_CREATE", created);
    }
    kvm.setTdr(tdr);
    kvm.setHkid(hkid);
    Errno error = check("TDH_MNG_KEY_CONFIG", seamcalls.mngKeyConfig(tdr));
    for (int i = 0; i < TDCS_PAGES && !error.isError(); i++) {
      error = addControlPage(kvm.tdcx(), "TDH_MNG_ADDCX", page -> seamcalls.mngAddcx(tdr, page));
    }
    if (!error.isError()) {
      error = mngInit(params);
    }
    if (!error.isError()) {
      setGpaWidth(params.gpaw());
      kvm.setState(TdState.INITIALIZED);
    }
    return error;
  }

  /** Five levels only where a GPA needs them: the roots have as many as the Secure EPT. */
  private void setGpaWidth(boolean wide) {
    kvm.mmu().setRootLevel(wide ? PageLevel.LEVEL_256T : PageLevel.LEVEL_512G);
    kvm.mmu().setGfnDirectBits((wide ? KvmTdx.SHARED_BIT_PWL_5 : KvmTdx.SHARED_BIT) >>> 12);
  }

  private Errno mngInit(TdParams params) {
    long page = kvm.pages().allocPage(PageOwner.USER_MEMORY, Gfp.KERNEL_ACCOUNT);
    if (page == PageAllocator.NO_PAGE) {
      return Errno.ENOMEM;
    }
    tdxHost.module().writeTdParams(page << 12, params);
    Errno error = check("TDH_MNG_INIT", seamcalls.mngInit(kvm.tdr(), page));
    kvm.pages().freePage(page, PageOwner.USER_MEMORY);
    return error;
  }

  /** Adds a vCPU ({@code KVM_CREATE_VCPU}); {@link #initVcpu} makes it one of the TD. */
  public VcpuTdx createVcpu() {
    VcpuTdx vcpu = new VcpuTdx(kvm, kvm.vcpus().size());
    kvm.addVcpu(vcpu);
    return vcpu;
  }

  /** Creates a vCPU in the module ({@code KVM_TDX_INIT_VCPU}). */
  public Errno initVcpu(VcpuTdx vcpu) {
    if (kvm.state() != TdState.INITIALIZED) {
      return Errno.EIO;
    }
    if (vcpu.tdvpr() != PageAllocator.NO_PAGE) {
      return Errno.EINVAL;
    }
    long tdvpr = tdxHost.controlPages().alloc();
    if (tdvpr == PageAllocator.NO_PAGE) {
      return Errno.ENOMEM;
    }
    SeamRegs created = seamcalls.vpCreate(kvm.tdr(), tdvpr);
    if (!Seamcalls.isOk(created)) {
      tdxHost.controlPages().free(tdvpr);
      return check("TDH_VP_CREATE", created);
    }
    vcpu.setTdvpr(tdvpr);
    Errno error = Errno.OK;
    for (int i = 0; i < VCPU_TDCX_PAGES && !error.isError(); i++) {
      error = addControlPage(vcpu.tdcx(), "TDH_VP_ADDCX", page -> seamcalls.vpAddcx(tdvpr, page));
    }
    return error.isError() ? error : check("TDH_VP_INIT", seamcalls.vpInit(tdvpr, 0));
  }

  private interface PageSeamcall {
    SeamRegs call(long page);
  }

  private Errno addControlPage(List<Long> added, String leaf, PageSeamcall seamcall) {
    long page = tdxHost.controlPages().alloc();
    if (page == PageAllocator.NO_PAGE) {
      return Errno.ENOMEM;
    }
    SeamRegs result = seamcall.call(page);
    if (!Seamcalls.isOk(result)) {
      tdxHost.controlPages().free(page);
      return check(leaf, result);
    }
    added.add(page);
    return Errno.OK;
  }

  /**
   * Adds measured initial memory at 4K ({@code KVM_TDX_INIT_MEM_REGION}). The frames must be
   * private and backed by a guest_memfd.
   */
  public Errno initMemRegion(VcpuTdx vcpu, GfnRange range) {
    if (kvm.state() != TdState.INITIALIZED || range.isEmpty()) {
      return Errno.EINVAL;
    }
    long source = kvm.pages().allocPage(PageOwner.USER_MEMORY, Gfp.KERNEL_ACCOUNT);
    if (source == PageAllocator.NO_PAGE) {
      return Errno.ENOMEM;
    }
    Errno[] result = {Errno.OK};
    kvm.slotsLock().lock();
    try {
      kvm.setPageAddSource(source);
      vcpu.asRunning(() -> result[0] = addPages(vcpu, range));
    } finally {
      kvm.setPageAddSource(PageAllocator.NO_PAGE);
      kvm.slotsLock().unlock();
      kvm.pages().freePage(source, PageOwner.USER_MEMORY);
    }
    return result[0];
  }

  private Errno addPages(VcpuTdx vcpu, GfnRange range) {
    for (long gfn = range.start(); gfn < range.end(); gfn++) {
      Errno error = kvm.mmu().mapPrivatePage(vcpu.mmu(), gfn);
      for (int offset = 0; offset < 4096 && !error.isError(); offset += EXTEND_CHUNK) {
        error = check("TDH_MR_EXTEND", seamcalls.mrExtend(kvm.tdr(), (gfn << 12) + offset));
      }
      if (error.isError()) {
        return error;
      }
    }
    return Errno.OK;
  }

  /** Ends the build; the TD can run ({@code KVM_TDX_FINALIZE_VM}). */
  public Errno finalizeVm() {
    if (kvm.state() != TdState.INITIALIZED) {
      return Errno.EINVAL;
    }
    SeamRegs result = seamcalls.mrFinalize(kvm.tdr());
    if (Seamcalls.isBusy(result)) {
      return Errno.EBUSY;
    }
    Errno error = check("TDH_MR_FINALIZE", result);
    if (!error.isError()) {
      kvm.setState(TdState.RUNNABLE);
      kvm.mmu().allowPreFault();
    }
    return error;
  }

  /**
   * Destroys the TD. Its guest_memfds are released already, so nothing private is mapped any more.
   */
  public void destroy() {
    if (kvm.tdr() != PageAllocator.NO_PAGE) {
      releaseKey();
    }
    for (VcpuTdx vcpu : kvm.tdVcpus()) {
      vcpu.mmu().destroy();
      vcpu.tdcx().forEach(this::reclaim);
      if (vcpu.tdvpr() != PageAllocator.NO_PAGE) {
        reclaim(vcpu.tdvpr());
      }
    }
    kvm.mmu().destroy();
    kvm.ops().freeExternalPerVmSplitCache(kvm);
    kvm.tdcx().forEach(this::reclaim);
    if (kvm.tdr() != PageAllocator.NO_PAGE) {
      reclaim(kvm.tdr()); // Last: it goes only when nothing else of the TD is left.
    }
  }

  /** {@code tdx_mmu_release_hkid}. */
  private void releaseKey() {
    for (VcpuTdx vcpu : kvm.tdVcpus()) {
      if (vcpu.tdvpr() != PageAllocator.NO_PAGE) {
        SeamRegs flushed = seamcalls.vpFlush(vcpu.tdvpr());
        if (TdxStatus.code(flushed.rax) != TdxStatus.TDX_VCPU_NOT_ASSOCIATED) {
          check("TDH_VP_FLUSH", flushed);
        }
      }
    }
    check("TDH_MNG_VPFLUSHDONE", seamcalls.mngVpflushdone(kvm.tdr()));
    check("TDH_PHYMEM_CACHE_WB", seamcalls.phymemCacheWb());
    check("TDH_MNG_KEY_FREEID", seamcalls.mngKeyFreeid(kvm.tdr()));
    tdxHost.freeHkid(kvm.hkid());
    kvm.setHkid(-1);
  }

  /** {@code tdx_reclaim_control_page}: a page that the module keeps is leaked, as in the kernel. */
  private void reclaim(long page) {
    if (!check("TDH_PHYMEM_PAGE_RECLAIM", seamcalls.phymemPageReclaim(page)).isError()) {
      tdxHost.controlPages().free(page);
    }
  }

  private Errno check(String leaf, SeamRegs result) {
    if (Seamcalls.isOk(result)) {
      return Errno.OK;
    }
    log.warn("VM {}: SEAMCALL {} failed: {}", kvm.id(), leaf, TdxStatus.describe(result.rax));
    return Errno.EIO;
  }
}
