package dev.septum.tdx.module;

/** One instruction of the software in the TD, as far as the module can see it. */
public sealed interface GuestInstruction {

  /**
   * TDG.MEM.PAGE.ACCEPT.
   *
   * @param level 0 for 4K, 1 for 2M
   */
  record Accept(long gpa, int level) implements GuestInstruction {}

  /** An ordinary access; {@code gpa} may have the shared bit. */
  record Access(long gpa, AccessKind kind) implements GuestInstruction {}

  /** TDG.VP.VMCALL with R10 to R15 exposed. */
  record Vmcall(long r10, long r11, long r12, long r13, long r14, long r15)
      implements GuestInstruction {}
}
