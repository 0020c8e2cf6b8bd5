package dev.septum.tdx.module;

import com.google.common.collect.ImmutableSet;

/** The leafs by which the host reads and writes the memory of a debug TD. */
final class DebugLeafs {

  private static final ImmutableSet<SeptState> MAPPED = ImmutableSet.of(SeptState.MAPPED);

  private DebugLeafs() {}

  /** TDH.MEM.RD: R8 is the 8 bytes at GPA RCX. */
  static void memRd(Seamcall call) {
    SeptOperand operand = SeptOperand.lockLeafOfDebugTd(call);
    if (operand != null && operand.state(MAPPED)) {
      call.out().r8 = call.module().contents().read(address(call, operand));
    }
  }

  /** TDH.MEM.WR: writes R8 to the 8 bytes at GPA RCX; R8 is then what was there. */
  static void memWr(Seamcall call) {
    SeptOperand operand = SeptOperand.lockLeafOfDebugTd(call);
    if (operand != null && operand.state(MAPPED)) {
      long hpa = address(call, operand);
      call.out().r8 = call.module().contents().read(hpa);
      call.module().contents().write(hpa, call.in().r8);
    }
  }

  private static long address(Seamcall call, SeptOperand operand) {
    return operand.slot().hpa() + (call.in().rcx - operand.slot().gpa());
  }
}
