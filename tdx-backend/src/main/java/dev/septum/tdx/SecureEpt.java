package dev.septum.tdx;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.TdxStatus;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The Secure EPT of a TD, as the TDP MMU changes it ({@code tdx_sept_*}), but for splits.
 *
 * <p>BUSY is an expected outcome; any other error of a SEAMCALL bugs the VM, as TDX_BUG_ON does.
 */
final class SecureEpt {

  private static final Logger log = LoggerFactory.getLogger(SecureEpt.class);

  private final KvmTdx kvm;
  private final Seamcalls seamcalls;
  private final TlbTracking tracking;

  SecureEpt(KvmTdx kvm) {
    this.kvm = kvm;
    this.seamcalls = kvm.tdxHost().seamcalls();
    this.tracking = new TlbTracking(kvm);
  }

  /** {@code tdx_sept_link_private_spt}. */
  Errno link(long gfn, PageLevel level, long septPage) {
    Errno error = getPamt(septPage);
    if (error.isError()) {
      return error;
    }
    SeamRegs result = seamcalls.memSeptAdd(kvm.tdr(), gfn, level, septPage);
    if (!Seamcalls.isOk(result)) {
      undoGetPamt(septPage);
      return failure("TDH_MEM_SEPT_ADD", result);
    }
    kvm.pages().changeOwner(septPage, PageOwner.EXTERNAL_PAGE_TABLE, PageOwner.SEPT_PAGE);
    kvm.counters().increment(TdxCounter.SEPT_PAGES);
    return Errno.OK;
  }

  /** {@code tdx_sept_set_private_spte}. */
  Errno map(long gfn, PageLevel level, long mirrorSpte) {
    boolean huge = level != PageLevel.LEVEL_4K;
    boolean hugeAllowed =
        level == PageLevel.LEVEL_2M
            && kvm.tdxHost().supportsHugePages()
            && kvm.state() == TdState.RUNNABLE;
    if (kvm.bugOn(huge && !hugeAllowed, "huge private mapping where none is allowed")) {
      return Errno.EIO;
    }
    long pfn = kvm.mmu().format().pfn(mirrorSpte);
    Errno error = huge ? Errno.OK : getPamt(pfn);
    if (error.isError()) {
      return error;
    }
    boolean building = kvm.state() != TdState.RUNNABLE;
    SeamRegs result =
        building
            ? seamcalls.memPageAdd(kvm.tdr(), gfn, pfn, kvm.pageAddSource())
            : seamcalls.memPageAug(kvm.tdr(), gfn, level, pfn);
    if (Seamcalls.isOk(result)) {
      return Errno.OK;
    }
    if (!huge) {
      undoGetPamt(pfn);
    }
    return failure(building ? "TDH_MEM_PAGE_ADD" : "TDH_MEM_PAGE_AUG", result);
  }

  /** {@code tdx_sept_remove_private_spte}. mmu_lock held for write. */
  void remove(long gfn, PageLevel level, long oldMirrorSpte) {
    kvm.mmuLock().assertHeld(LockMode.EXCLUSIVE);
    if (kvm.bugOn(!kvm.hasHkid(), "private page removed after the TD lost its key")) {
      return;
    }
    long pfn = kvm.mmu().format().pfn(oldMirrorSpte);
    boolean removed =
        succeeded("TDH_MEM_RANGE_BLOCK", tracking.block(gfn, level))
            && succeeded("TDH_MEM_TRACK", tracking.track())
            && succeeded(
                "TDH_MEM_PAGE_REMOVE",
                kvm.noVcpus().call(() -> seamcalls.memPageRemove(kvm.tdr(), gfn, level)))
            && succeeded(
                "TDH_PHYMEM_PAGE_WBINVD",
                seamcalls.phymemPagesWbinvd(pfn, level.pages(), kvm.hkidBits()));
    if (removed && level == PageLevel.LEVEL_4K) {
      kvm.tdxHost().dpamt().put(pfn);
    }
  }

  /** {@code tdx_sept_free_private_spt}: the TD's key is gone, the page comes back by RECLAIM. */
  Errno reclaimTable(long septPage) {
    if (kvm.bugOn(kvm.hasHkid(), "S-EPT page freed while the TD has its key")
        || !succeeded("TDH_PHYMEM_PAGE_RECLAIM", seamcalls.phymemPageReclaim(septPage))) {
      return Errno.EIO;
    }
    kvm.tdxHost().dpamt().put(septPage);
    kvm.pages().changeOwner(septPage, PageOwner.SEPT_PAGE, PageOwner.EXTERNAL_PAGE_TABLE);
    return Errno.OK;
  }

  /** The PAMT of a 4K page, paid for by the vCPU whose fault this is. */
  private Errno getPamt(long page) {
    if (Vcpu.running() instanceof VcpuTdx vcpu) {
      return kvm.tdxHost().dpamt().get(page, vcpu.pamtCache());
    }
    kvm.bugOn(true, "S-EPT changed by no running vCPU");
    return Errno.EIO;
  }

  /** Undoes {@link #getPamt}: a pair that is not needed goes back to the vCPU that paid for it. */
  private void undoGetPamt(long page) {
    if (Vcpu.running() instanceof VcpuTdx vcpu) {
      kvm.tdxHost().dpamt().put(page, vcpu.pamtCache());
    }
  }

  private Errno failure(String leaf, SeamRegs result) {
    if (Seamcalls.isBusy(result)) {
      return Errno.EBUSY;
    }
    succeeded(leaf, result);
    return Errno.EIO;
  }

  /** Bugs the VM if the SEAMCALL failed ({@code TDX_BUG_ON}). */
  private boolean succeeded(String leaf, SeamRegs result) {
    if (Seamcalls.isOk(result)) {
      return true;
    }
    String text =
        "SEAMCALL %s failed: %s, entry 0x%x, level_state 0x%x"
            .formatted(leaf, TdxStatus.describe(result.rax), result.rcx, result.rdx);
    if (!kvm.isBugged()) {
      log.warn("VM {}: {}", kvm.id(), text); // Once: what follows follows from it.
    }
    kvm.bugOn(true, text);
    return false;
  }
}
