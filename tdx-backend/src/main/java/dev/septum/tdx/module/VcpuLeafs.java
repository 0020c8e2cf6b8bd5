package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;
import org.jspecify.annotations.Nullable;

/** The leafs that make and unmake a vCPU. */
final class VcpuLeafs {

  private static final ImmutableSet<OpState> INITIALIZED = ImmutableSet.of(OpState.INITIALIZED);

  private VcpuLeafs() {}

  /** TDH.VP.CREATE: RCX becomes the TDVPR of a vCPU of the TD in RDX. */
  static void vpCreate(Seamcall call) {
    Td td = TdOperand.lock(call, call.in().rdx, LockMode.SHARED, OperandId.RDX);
    if (td == null || !call.opState(td, INITIALIZED)) {
      return;
    }
    PageOperand page = PageOperand.lockFree(call, call.in().rcx, OperandId.RCX);
    if (page != null) {
      ModuleState module = call.module();
      module.vcpus.put(page.hpa(), new TdVcpu(module.kernel(), td));
      page.assign(call, PageType.TDVPR, td);
    }
  }

  /** TDH.VP.ADDCX: gives page RCX to the vCPU in RDX. */
  static void vpAddcx(Seamcall call) {
    TdVcpu vcpu = lockUninitialized(call, call.in().rdx, OperandId.RDX);
    if (vcpu == null
        || !call.require(vcpu.pages < TdVcpu.MAX_TDVPS_PAGES, TdxStatus.TDX_TDCX_NUM_INCORRECT)) {
      return;
    }
    PageOperand page = PageOperand.lockFree(call, call.in().rcx, OperandId.RCX);
    if (page != null) {
      page.assign(call, PageType.TDCX, vcpu.td());
      vcpu.pages++;
    }
  }

  /** TDH.VP.INIT of the vCPU in RCX; version 1 has its x2APIC id in R8. */
  static void vpInit(Seamcall call) {
    TdVcpu vcpu = call.isVersion(1) ? lockUninitialized(call, call.in().rcx, OperandId.RCX) : null;
    if (vcpu == null
        || !call.require(vcpu.pages >= TdVcpu.TDVPS_PAGES, TdxStatus.TDX_TDCX_NUM_INCORRECT)
        || !claimNumber(call, vcpu.td())) {
      return;
    }
    vcpu.state = VcpuState.READY;
    vcpu.associate(call.processor().number());
  }

  /** TDH.VP.FLUSH of the vCPU in RCX: this processor caches its state no more. */
  static void vpFlush(Seamcall call) {
    TdVcpu vcpu = TdOperand.lockAnyVcpu(call, call.in().rcx, LockMode.EXCLUSIVE, OperandId.RCX);
    if (vcpu != null
        && call.require(
            vcpu.isAssociatedWith(call.processor().number()), TdxStatus.TDX_VCPU_NOT_ASSOCIATED)) {
      vcpu.disassociate();
    }
  }

  private static @Nullable TdVcpu lockUninitialized(Seamcall call, long tdvprHpa, int operand) {
    TdVcpu vcpu = TdOperand.lockVcpu(call, tdvprHpa, LockMode.EXCLUSIVE, operand);
    boolean right =
        vcpu != null
            && call.opState(vcpu.td(), INITIALIZED)
            && call.require(
                vcpu.state == VcpuState.UNINITIALIZED,
                TdxStatus.TDX_VCPU_STATE_INCORRECT,
                vcpu.state.number());
    return right ? vcpu : null;
  }

  /** Counts one more vCPU of the TD, if its limit and its x2APIC ids allow it. */
  private static boolean claimNumber(Seamcall call, Td td) {
    if (!call.require(
        call.version() == 0 || !td.x2apicIds.contains(call.in().r8),
        TdxStatus.TDX_X2APIC_ID_NOT_UNIQUE)) {
      return false;
    }
    if (td.vcpus().addAndGet(1) > td.params().maxVcpus()) {
      td.vcpus().addAndGet(-1);
      return call.refuse(TdxStatus.TDX_MAX_VCPUS_EXCEEDED);
    }
    // Two VP.INITs with one id race here: the set decides, and the loser gives its number back.
    if (call.version() > 0 && !td.x2apicIds.add(call.in().r8)) {
      td.vcpus().addAndGet(-1);
      return call.refuse(TdxStatus.TDX_X2APIC_ID_NOT_UNIQUE);
    }
    return true;
  }
}
