package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;

/** The leafs that take a TD apart: from MNG.VPFLUSHDONE to the last PAGE.RECLAIM. */
final class TdTeardownLeafs {

  private TdTeardownLeafs() {}

  /** TDH.MNG.VPFLUSHDONE of the TD in RCX: nothing runs in it any more. */
  static void mngVpflushdone(Seamcall call) {
    KeyTable keys = call.module().keys();
    Td td = TdOperand.lockAny(call, call.in().rcx, LockMode.EXCLUSIVE, OperandId.RCX);
    if (td != null
        && call.require(isAlive(td), TdxStatus.TDX_LIFECYCLE_STATE_INCORRECT)
        && call.require(td.associatedVcpus().get() == 0, TdxStatus.TDX_FLUSHVP_NOT_DONE)
        && call.lock(keys.lock(), LockMode.EXCLUSIVE, OperandId.KOT)) {
      td.lifecycle = Lifecycle.BLOCKED;
      keys.flushed(td.hkid());
    }
  }

  /**
   * TDH.PHYMEM.CACHE.WB: writes back the lines of every flushed HKID. RCX is 0 to start, 1 to
   * resume; an interrupt stops it once, half way.
   */
  static void phymemCacheWb(Seamcall call) {
    ModuleState module = call.module();
    long resume = call.in().rcx;
    if (!call.require(resume == 0 || resume == 1, TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX)
        || !call.lock(module.cacheWritebackLock(), LockMode.EXCLUSIVE, OperandId.WBCACHE)
        || !call.lock(module.keys().lock(), LockMode.EXCLUSIVE, OperandId.KOT)
        || !call.require(
            resume == 0 || module.cacheWritebackStarted, TdxStatus.TDX_WBCACHE_RESUME_ERROR)
        || !call.require(module.keys().hasFlushed(), TdxStatus.TDX_NO_HKID_READY_TO_WBCACHE)) {
      return;
    }
    module.cacheWritebackStarted = resume == 0 && call.isInterrupted();
    if (module.cacheWritebackStarted) {
      call.refuse(TdxStatus.TDX_INTERRUPTED_RESUMABLE);
    } else {
      module.keys().writtenBack();
    }
  }

  /** TDH.MNG.KEY.FREEID of the TD in RCX: its pages can be reclaimed. */
  static void mngKeyFreeid(Seamcall call) {
    KeyTable keys = call.module().keys();
    Td td = TdOperand.lockAny(call, call.in().rcx, LockMode.EXCLUSIVE, OperandId.RCX);
    if (td != null
        && call.require(td.lifecycle == Lifecycle.BLOCKED, TdxStatus.TDX_LIFECYCLE_STATE_INCORRECT)
        && call.lock(keys.lock(), LockMode.EXCLUSIVE, OperandId.KOT)
        && call.require(keys.isWrittenBack(td.hkid()), TdxStatus.TDX_WBCACHE_NOT_COMPLETE)) {
      td.lifecycle = Lifecycle.TEARDOWN;
      keys.free(td.hkid());
    }
  }

  /** TDH.MNG.KEY.RECLAIMID: does nothing, successfully; old hosts call it. */
  static void mngKeyReclaimid(Seamcall call) {
    call.refuse(TdxStatus.TDX_SUCCESS);
  }

  /** TDH.PHYMEM.PAGE.RECLAIM of the page at RCX, whose TD is in TEARDOWN. */
  static void phymemPageReclaim(Seamcall call) {
    long hpa = call.in().rcx;
    PamtEntry entry = PageOperand.walk(call, hpa, 0, LockMode.EXCLUSIVE, OperandId.RCX);
    if (entry != null && isAssigned(call, entry) && reportPage(call, hpa, entry)) {
      reclaim(call, hpa, entry);
    }
  }

  private static void reclaim(Seamcall call, long hpa, PamtEntry entry) {
    boolean isTdr = entry.type() == PageType.TDR;
    if (!isTdr && !TdOperand.lockOwner(call, entry)) {
      return;
    }
    Td td = call.module().td(isTdr ? hpa : entry.owner());
    if (!call.require(td.lifecycle == Lifecycle.TEARDOWN, TdxStatus.TDX_LIFECYCLE_STATE_INCORRECT)
        || !call.require(
            !isTdr || td.childCount().get() == 0, TdxStatus.TDX_TD_ASSOCIATED_PAGES_EXIST)) {
      return;
    }
    forget(call.module(), hpa);
    if (!isTdr) {
      td.childCount().addAndGet(-SeptEntry.pages(entry.level()));
      td.reclaimed.addAndGet(1);
    }
    call.out().r9 = RemovalHint.of(call.module().pamt().free(entry, hpa));
  }

  private static boolean isAssigned(Seamcall call, PamtEntry entry) {
    boolean assigned = entry.type() != PageType.NDA && entry.type() != PageType.RSVD;
    report(call, 0, 0, 0);
    return call.require(assigned, TdxStatus.TDX_PAGE_METADATA_INCORRECT, OperandId.RCX);
  }

  /** Tells the host what the page is, and refuses one that is not the start of a large page. */
  private static boolean reportPage(Seamcall call, long hpa, PamtEntry entry) {
    report(call, entry.type().code(), entry.owner(), entry.level());
    return call.require(
        (hpa & SeptEntry.bytes(entry.level()) - 1) == 0,
        TdxStatus.TDX_OPERAND_INVALID,
        OperandId.RCX);
  }

  private static void report(Seamcall call, long type, long owner, long size) {
    call.out().rcx = type;
    call.out().rdx = owner;
    call.out().r8 = size;
    call.out().r9 = 0;
    call.out().r10 = 0;
    call.out().r11 = 0;
  }

  private static void forget(ModuleState module, long hpa) {
    module.tds.remove(hpa);
    module.vcpus.remove(hpa);
    module.guests.remove(hpa);
    module.septPages().forget(hpa);
  }

  private static boolean isAlive(Td td) {
    return td.lifecycle == Lifecycle.HKID_ASSIGNED || td.lifecycle == Lifecycle.KEYS_CONFIGURED;
  }
}
