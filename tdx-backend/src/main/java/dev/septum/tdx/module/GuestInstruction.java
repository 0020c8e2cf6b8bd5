package dev.septum.tdx.module;

/** One instruction of the software in the TD, as far as the module can see it. */
public sealed interface GuestInstruction {

  /**
   * TDG.MEM.PAGE.ACCEPT.
   *
   * @param level 0 for 4K, 1 for 2M
   */
  record Accept(long gpa, int level) implements GuestInstruction {}

  /** TDG.MEM.PAGE.ATTR.RD. */
  record AttrRead(long gpa) implements GuestInstruction {}

  /**
   * TDG.MEM.PAGE.ATTR.WR.
   *
   * @param level 0 for 4K, 1 for 2M, 2 for 1G
   * @param attributes those of nested VMs, so that only 0 is legal here
   */
  record AttrWrite(long gpa, int level, long attributes) implements GuestInstruction {}

  /** TDG.VP.VEINFO.GET. */
  record VeInfoGet() implements GuestInstruction {}

  /**
   * TDG.VM.WR of TD_CTLS.
   *
   * @param value bit 0 PENDING_VE_DISABLE, bit 63 LOCK
   */
  record WriteTdControls(long value) implements GuestInstruction {}

  /** An ordinary access; {@code gpa} may have the shared bit. */
  record Access(long gpa, AccessKind kind) implements GuestInstruction {}

  /** TDG.VP.VMCALL with R10 to R15 exposed. */
  record Vmcall(long r10, long r11, long r12, long r13, long r14, long r15)
      implements GuestInstruction {}

  /**
   * TDG.VP.VMCALL with any registers exposed.
   *
   * @param mask RCX: bits 15:0 name general purpose registers by number, 31:16 XMM registers
   * @param registers the guest's
   */
  record MaskedVmcall(long mask, SeamRegs registers) implements GuestInstruction {}
}
