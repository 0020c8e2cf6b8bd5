package dev.septum.tdx.module;

/** What one guest instruction came to. */
public sealed interface GuestOutcome {

  /** The RAX of a TDCALL leaf that completed, with or without success. */
  record Status(long rax) implements GuestOutcome {}

  /** The access went through. */
  record Done() implements GuestOutcome {}

  /** The access raised #VE: nothing retired, and the guest's handler runs next. */
  record VirtualizationException(long gpa, long exitQualification) implements GuestOutcome {}

  /** The host's answer to a VMCALL. */
  record VmcallReturned(long r10, long r11, long r12, long r13, long r14, long r15)
      implements GuestOutcome {}
}
