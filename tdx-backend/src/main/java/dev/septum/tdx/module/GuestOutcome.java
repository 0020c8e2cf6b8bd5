package dev.septum.tdx.module;

/** What one guest instruction came to. */
public sealed interface GuestOutcome {

  /** The RAX of a TDCALL leaf that completed, with or without success. */
  record Status(long rax) implements GuestOutcome {}

  /** The access went through. */
  record Done() implements GuestOutcome {}

  /** The access raised #VE: nothing retired, and the guest's handler runs next. */
  record VirtualizationException(long gpa, long exitQualification) implements GuestOutcome {}

  /** The access raised #DF, since the information of the last #VE is still unread. */
  record DoubleFault(long gpa) implements GuestOutcome {}

  /**
   * VEINFO.GET succeeded.
   *
   * @param pending whether the page was there, but PENDING
   */
  record VeInfo(long exitReason, long exitQualification, long gpa, boolean pending)
      implements GuestOutcome {}

  /**
   * ATTR.RD succeeded.
   *
   * @param rcx the page's GPA, its level in bits 2:0, and bit 62 if it is PENDING
   * @param rdx the attributes of nested VMs
   */
  record PageAttributes(long rcx, long rdx) implements GuestOutcome {}

  /** The host's answer to a VMCALL. */
  record VmcallReturned(long r10, long r11, long r12, long r13, long r14, long r15)
      implements GuestOutcome {}

  /** The guest's registers after a VMCALL with a mask, those that it names as the host set them. */
  record MaskedVmcallReturned(SeamRegs registers) implements GuestOutcome {}
}
