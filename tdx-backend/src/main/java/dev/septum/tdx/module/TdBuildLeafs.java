package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;
import org.jspecify.annotations.Nullable;

/** The leafs that bring a TD to life: from MNG.CREATE to MR.FINALIZE. */
final class TdBuildLeafs {

  private static final ImmutableSet<OpState> UNINITIALIZED = ImmutableSet.of(OpState.UNINITIALIZED);
  private static final ImmutableSet<OpState> INITIALIZED = ImmutableSet.of(OpState.INITIALIZED);

  private TdBuildLeafs() {}

  /** TDH.MNG.CREATE: RCX becomes the TDR of a TD with HKID RDX. */
  static void mngCreate(Seamcall call) {
    ModuleState module = call.module();
    PageOperand page = PageOperand.lockFree(call, call.in().rcx, OperandId.RCX);
    long hkid = call.in().rdx;
    if (page == null
        || !call.require(
            module.config().isPrivateHkid(hkid), TdxStatus.TDX_OPERAND_INVALID, OperandId.RDX)
        || !call.lock(module.keys().lock(), LockMode.EXCLUSIVE, OperandId.KOT)
        || !call.require(module.keys().isFree((int) hkid), TdxStatus.TDX_HKID_NOT_FREE)) {
      return;
    }
    module.keys().assign((int) hkid);
    module.tds.put(page.hpa(), new Td(module.kernel(), page.hpa(), (int) hkid));
    module.pamt().assign(page.entry(), page.hpa(), PageType.TDR, 0);
  }

  /** TDH.MNG.KEY.CONFIG of the TD in RCX; there is one package, so once is enough. */
  static void mngKeyConfig(Seamcall call) {
    Td td = TdOperand.lockAny(call, call.in().rcx, LockMode.EXCLUSIVE, OperandId.RCX);
    if (td != null
        && call.require(
            td.lifecycle == Lifecycle.HKID_ASSIGNED, TdxStatus.TDX_LIFECYCLE_STATE_INCORRECT)) {
      td.lifecycle = Lifecycle.KEYS_CONFIGURED;
    }
  }

  /** TDH.MNG.ADDCX: gives page RCX to the TDCS of the TD in RDX. */
  static void mngAddcx(Seamcall call) {
    Td td = TdOperand.lockWithKeys(call, call.in().rdx, LockMode.EXCLUSIVE, OperandId.RDX);
    if (td == null
        || !call.opStateUnderTdr(td, UNINITIALIZED)
        || !call.require(td.tdcx.size() < Td.MAX_TDCS_PAGES, TdxStatus.TDX_TDCX_NUM_INCORRECT)) {
      return;
    }
    PageOperand page = PageOperand.lockFree(call, call.in().rcx, OperandId.RCX);
    if (page == null) {
      return;
    }
    if (td.tdcx.size() == Td.ROOT_PAGE) {
      call.module().septPages().fillFree(page.hpa());
    }
    td.tdcx.add(page.hpa());
    page.assign(call, PageType.TDCX, td);
  }

  /** TDH.MNG.INIT of the TD in RCX with the TD_PARAMS at RDX. */
  static void mngInit(Seamcall call) {
    Td td = TdOperand.lock(call, call.in().rcx, LockMode.EXCLUSIVE, OperandId.RCX);
    if (td == null || !call.opStateUnderTdr(td, UNINITIALIZED)) {
      return;
    }
    TdParams params = params(call);
    if (params == null) {
      call.refuse(TdxStatus.TDX_OPERAND_INVALID, OperandId.RDX);
    } else {
      td.initialize(params, call.module().septPages());
    }
  }

  /** TDH.MR.FINALIZE of the TD in RCX: it can run from now on, and its TLBs are tracked. */
  static void mrFinalize(Seamcall call) {
    Td td = TdOperand.lock(call, call.in().rcx, LockMode.EXCLUSIVE, OperandId.RCX);
    if (td != null
        && call.opStateUnderTdr(td, INITIALIZED)
        && call.require(td.vcpus().get() > 0, TdxStatus.TDX_NO_VCPUS)) {
      td.measurement.finish();
      td.opState = OpState.RUNNABLE;
    }
  }

  private static @Nullable TdParams params(Seamcall call) {
    ModuleState module = call.module();
    TdParams params = module.paramPages.get(call.in().rdx);
    boolean supported = params != null && (!params.gpaw() || module.config().fiveLevel());
    return supported ? params : null;
  }
}
