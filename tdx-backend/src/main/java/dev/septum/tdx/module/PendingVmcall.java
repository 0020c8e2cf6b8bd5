package dev.septum.tdx.module;

/**
 * TDG.VP.VMCALL that the host is working on: it retires at the next entry.
 *
 * @param mask RCX: bits 15:0 name the general purpose registers that are exposed, by number
 * @param registers the guest's
 */
record PendingVmcall(GuestInstruction instruction, long mask, SeamRegs registers) {

  /** R10 to R15. */
  private static final long R10_TO_R15 = 0xFC00;

  /** RAX, RCX, RSP, RBP (which is the host's own: NO_RBP_MOD), and what is no register. */
  private static final long ILLEGAL = 0xFFFFFFFF00000033L;

  static boolean isLegal(GuestInstruction.MaskedVmcall vmcall) {
    return (vmcall.mask() & ILLEGAL) == 0;
  }

  static PendingVmcall of(GuestInstruction.MaskedVmcall vmcall) {
    SeamRegs registers = new SeamRegs();
    registers.copyFrom(vmcall.registers());
    return new PendingVmcall(vmcall, vmcall.mask(), registers);
  }

  static PendingVmcall of(GuestInstruction.Vmcall vmcall) {
    SeamRegs registers =
        new SeamRegs()
            .r10(vmcall.r10())
            .r11(vmcall.r11())
            .r12(vmcall.r12())
            .r13(vmcall.r13())
            .r14(vmcall.r14())
            .r15(vmcall.r15());
    return new PendingVmcall(vmcall, R10_TO_R15, registers);
  }

  /** Shows the host the registers that the mask names; others stay as they are. */
  void expose(SeamRegs out) {
    out.copyFrom(registers, mask);
  }

  /** What the guest gets once the host has answered in {@code host}. */
  GuestOutcome returned(SeamRegs host) {
    if (instruction instanceof GuestInstruction.Vmcall) {
      return new GuestOutcome.VmcallReturned(
          host.r10, host.r11, host.r12, host.r13, host.r14, host.r15);
    }
    registers.copyFrom(host, mask);
    return new GuestOutcome.MaskedVmcallReturned(registers);
  }
}
