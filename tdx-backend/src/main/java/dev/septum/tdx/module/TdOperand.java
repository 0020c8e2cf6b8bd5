package dev.septum.tdx.module;

import dev.septum.kernel.LockMode;
import org.jspecify.annotations.Nullable;

/** TDs and vCPUs that the host named by their TDR or TDVPR page. */
final class TdOperand {

  private TdOperand() {}

  /** Locks a TD in whatever state; null if the call is refused (P3). */
  static @Nullable Td lockAny(Seamcall call, long tdrHpa, LockMode mode, int operand) {
    PageOperand page = PageOperand.lock(call, tdrHpa, PageType.TDR, mode, operand);
    return page == null ? null : call.module().td(tdrHpa);
  }

  /** Locks a TD whose keys are configured; null if the call is refused (P3, P4). */
  static @Nullable Td lockWithKeys(Seamcall call, long tdrHpa, LockMode mode, int operand) {
    Td td = lockAny(call, tdrHpa, mode, operand);
    return td != null && hasKeys(call, td) ? td : null;
  }

  /** Locks a TD that has its keys and its TDCS; null if the call is refused (P3, P4). */
  static @Nullable Td lock(Seamcall call, long tdrHpa, LockMode mode, int operand) {
    Td td = lockWithKeys(call, tdrHpa, mode, operand);
    return td != null && hasTdcs(call, td) ? td : null;
  }

  /** Locks a vCPU and, shared, its TD; the TD has its keys and its TDCS. */
  static @Nullable TdVcpu lockVcpu(Seamcall call, long tdvprHpa, LockMode mode, int operand) {
    TdVcpu vcpu = lockAnyVcpu(call, tdvprHpa, mode, operand);
    return vcpu != null && hasKeys(call, vcpu.td()) && hasTdcs(call, vcpu.td()) ? vcpu : null;
  }

  /** Locks a vCPU and, shared, its TD in whatever state. */
  static @Nullable TdVcpu lockAnyVcpu(Seamcall call, long tdvprHpa, LockMode mode, int operand) {
    PageOperand page = PageOperand.lock(call, tdvprHpa, PageType.TDVPR, mode, operand);
    return page != null && lockOwner(call, page.entry()) ? call.module().vcpu(tdvprHpa) : null;
  }

  /** Locks the TDR that owns a page, shared: an implicit access, so the leaf entry alone. */
  static boolean lockOwner(Seamcall call, PamtEntry entry) {
    return call.lock(call.module().pamt().entry(entry.owner(), 0), LockMode.SHARED, OperandId.TDR);
  }

  private static boolean hasKeys(Seamcall call, Td td) {
    return call.require(td.fatal.get() == 0, TdxStatus.TDX_TD_FATAL)
        && call.require(
            td.lifecycle == Lifecycle.KEYS_CONFIGURED, TdxStatus.TDX_TD_KEYS_NOT_CONFIGURED);
  }

  private static boolean hasTdcs(Seamcall call, Td td) {
    return call.require(td.tdcx.size() >= Td.TDCS_PAGES, TdxStatus.TDX_TDCS_NOT_ALLOCATED);
  }
}
