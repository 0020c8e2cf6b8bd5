package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;
import org.jspecify.annotations.Nullable;

/** The leafs that bring the module up, and the one that ends it. */
final class SysLeafs {

  /** Of SYS.CONFIG's R8: the HKID, and the bit that enables Dynamic PAMT. */
  private static final long HKID = 0xFFFF;

  private static final long DYNAMIC_PAMT = 1L << 16;
  private static final long LIST_ALIGNMENT = 512;

  private SysLeafs() {}

  /** TDH.SYS.INIT: once, on any processor. */
  static void sysInit(Seamcall call) {
    BringUp bringUp = call.module().bringUp();
    if (call.isVersion(1)
        && lock(call, LockMode.EXCLUSIVE)
        && call.require(bringUp.is(SysState.LOADED), TdxStatus.TDX_SYS_INIT_NOT_PENDING)) {
      bringUp.enter(SysState.INITIALIZED);
    }
  }

  /** TDH.SYS.LP.INIT: once on every processor. */
  static void sysLpInit(Seamcall call) {
    BringUp bringUp = call.module().bringUp();
    if (lock(call, LockMode.SHARED)
        && call.require(bringUp.is(SysState.INITIALIZED), TdxStatus.TDX_SYS_LP_INIT_NOT_PENDING)) {
      call.require(
          bringUp.processors.add(call.processor().number()), TdxStatus.TDX_SYS_LP_INIT_DONE);
    }
  }

  /** TDH.SYS.CONFIG: takes the TDMRs that the list at RCX, RDX long, points to. */
  static void sysConfig(Seamcall call) {
    ModuleState module = call.module();
    BringUp bringUp = module.bringUp();
    if (!lock(call, LockMode.EXCLUSIVE)
        || !call.require(bringUp.is(SysState.INITIALIZED), TdxStatus.TDX_SYS_CONFIG_NOT_PENDING)
        || !call.require(
            bringUp.processors.size() >= module.platform().processors(),
            TdxStatus.TDX_SYS_LP_INIT_NOT_DONE)
        || !isFormatted(call)) {
      return;
    }
    TdmrList list = TdmrList.read(call);
    if (list != null && list.isRight(call)) {
      boolean dynamic = (call.in().r8 & DYNAMIC_PAMT) != 0;
      module.configure(list.infos(), dynamic, (int) (call.in().r8 & HKID));
      bringUp.enter(SysState.CONFIGURED);
    }
  }

  /** TDH.SYS.KEY.CONFIG: once on every package; after the last the module is READY. */
  static void sysKeyConfig(Seamcall call) {
    BringUp bringUp = call.module().bringUp();
    if (!lock(call, LockMode.EXCLUSIVE)
        || !call.require(bringUp.is(SysState.CONFIGURED), TdxStatus.TDX_SYS_KEY_CONFIG_NOT_PENDING)
        || !call.require(
            bringUp.packages.add(call.processor().packageNumber()), TdxStatus.TDX_KEY_CONFIGURED)) {
      return;
    }
    if (bringUp.packages.size() >= call.module().platform().packages()) {
      bringUp.enter(SysState.READY);
    }
  }

  /** TDH.SYS.TDMR.INIT: initialises the next part of the TDMR at RCX; RDX is where it goes on. */
  static void sysTdmrInit(Seamcall call) {
    Tdmr tdmr = tdmrAt(call, call.in().rcx);
    call.out().rdx = 0;
    if (tdmr == null || !call.lock(tdmr.lock(), LockMode.EXCLUSIVE, OperandId.TDMR)) {
      return;
    }
    if (call.require(
        tdmr.initializedTo() < tdmr.range().end(), TdxStatus.TDX_TDMR_ALREADY_INITIALIZED)) {
      call.module().pamt().initializeNext(tdmr);
      call.out().rdx = tdmr.coveredTo();
    }
  }

  /** TDH.SYS.RD: R8 is the metadata field RDX, RDX the field after it; -1 is before and behind. */
  static void sysRd(Seamcall call) {
    SysFields fields = SysFields.of(call.module());
    long asked = call.in().rdx;
    call.out().rdx = -1;
    call.out().r8 = 0;
    if (asked != SysFields.NONE
        && !call.require(
            fields.has(asked), TdxStatus.TDX_METADATA_FIELD_ID_INCORRECT, OperandId.RDX)) {
      return;
    }
    call.out().r8 = asked == SysFields.NONE ? 0 : fields.value(asked);
    call.out().rdx = fields.after(asked);
  }

  /** TDH.SYS.LP.SHUTDOWN: the module takes no more calls. */
  static void sysLpShutdown(Seamcall call) {
    if (lock(call, LockMode.EXCLUSIVE)) {
      call.module().bringUp().enter(SysState.SHUT_DOWN);
    }
  }

  private static boolean lock(Seamcall call, LockMode mode) {
    return call.lock(call.module().bringUp().lock(), mode, OperandId.SYS)
        || call.refuse(TdxStatus.TDX_SYS_BUSY);
  }

  private static boolean isFormatted(Seamcall call) {
    TdxModuleConfig config = call.module().config();
    SeamRegs in = call.in();
    boolean listed = config.isPlainAddress(in.rcx) && (in.rcx & LIST_ALIGNMENT - 1) == 0;
    boolean dynamicAllowed =
        (in.r8 & DYNAMIC_PAMT) == 0 || (config.dynamicPamt() && config.fitsDynamicPamt());
    boolean flagged = (in.r8 & ~HKID & ~DYNAMIC_PAMT) == 0 && dynamicAllowed;
    return call.require(listed, TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX)
        && call.require(
            in.rdx >= 1 && in.rdx <= TdmrList.MAX_TDMRS,
            TdxStatus.TDX_OPERAND_INVALID,
            OperandId.RDX)
        && call.require(
            flagged && config.isPrivateHkid(in.r8 & HKID),
            TdxStatus.TDX_OPERAND_INVALID,
            OperandId.R8);
  }

  private static @Nullable Tdmr tdmrAt(Seamcall call, long base) {
    for (Tdmr tdmr : call.module().pamt().tdmrs()) {
      if (tdmr.range().base() == base) {
        return tdmr;
      }
    }
    call.refuse(TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
    return null;
  }
}
