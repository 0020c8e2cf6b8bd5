package dev.septum.tdx.module;

import com.google.common.base.Verify;
import org.jspecify.annotations.Nullable;

/** What VP.ENTER's registers say about why the vCPU left the TD. */
final class TdExit {

  /** Extended exit qualification types, RDX bits 3:0. */
  private static final int EEQ_NONE = 0;

  private static final int EEQ_ACCEPT = 1;
  private static final int EEQ_PENDING_EPT_VIOLATION = 6;

  private static final int EEQ_ATTR_WR = 5;
  private static final int EXTERNAL_INTERRUPT = 1;
  static final int EPT_VIOLATION = 48;
  private static final int TDCALL = 77;

  /** What RCX, RDX and R8 say about an EPT violation. */
  record Violation(long gpa, long qualification, long extendedQualification) {}

  private final SeamRegs out;
  private @Nullable Violation violation;

  TdExit(SeamRegs out) {
    this.out = out;
  }

  void externalInterrupt() {
    begin(EXTERNAL_INTERRUPT);
  }

  /** A shared GPA that the host's own EPT does not map; {@code gpa} has the shared bit. */
  void sharedEptViolation(long gpa, AccessKind kind) {
    eptViolation(gpa, kind.qualification(), EEQ_NONE);
  }

  /** An access to a private GPA that maps nothing accessible. */
  void privateEptViolation(long gpa, AccessKind kind, SeptSlot slot) {
    eptViolation(pageOf(gpa), qualification(kind, slot), EEQ_NONE);
  }

  /** An access to a PENDING page in a TD without #VE for that. */
  void pendingEptViolation(long gpa, AccessKind kind, SeptSlot slot) {
    eptViolation(pageOf(gpa), qualification(kind, slot), EEQ_PENDING_EPT_VIOLATION);
  }

  /** An ACCEPT that needs the host first; {@code entry} is what it met at {@code metLevel}. */
  void acceptEptViolation(long gpa, int requestedLevel, int metLevel, long entry) {
    tdcallEptViolation(EEQ_ACCEPT, gpa, requestedLevel, metLevel, entry);
  }

  /** An ATTR.WR that needs the host first. */
  void attrWriteEptViolation(long gpa, int requestedLevel, int metLevel, long entry) {
    tdcallEptViolation(EEQ_ATTR_WR, gpa, requestedLevel, metLevel, entry);
  }

  void vmcall(PendingVmcall vmcall) {
    begin(TDCALL);
    vmcall.expose(out);
    out.rcx = vmcall.mask();
  }

  /** A guest stood back for hosts for too long. */
  void hostPriorityTimeout() {
    begin(TdxStatus.TDX_HOST_PRIORITY_BUSY_TIMEOUT);
  }

  /** Repeats a violation. */
  void eptViolation(Violation repeated) {
    eptViolation(repeated.gpa(), repeated.qualification(), repeated.extendedQualification());
  }

  /** The EPT violation that this exit is. */
  Violation violation() {
    return Verify.verifyNotNull(violation);
  }

  /** The exit qualification of an access that met this entry. */
  static long qualification(AccessKind kind, SeptSlot slot) {
    return kind.qualification() | SeptEntry.permissionsInQualification(slot.entry());
  }

  private void tdcallEptViolation(
      int type, long gpa, int requestedLevel, int metLevel, long entry) {
    SeptState state = SeptState.of(entry);
    long info =
        requestedLevel
            | (long) metLevel << 3
            | (long) state.arch() << 6
            | (state.isLeaf() ? 1L << 14 : 0);
    long qualification =
        AccessKind.WRITE.qualification() | SeptEntry.permissionsInQualification(entry);
    eptViolation(pageOf(gpa), qualification, info << 32 | type);
  }

  private void eptViolation(long gpa, long qualification, long extendedQualification) {
    violation = new Violation(gpa, qualification, extendedQualification);
    begin(EPT_VIOLATION);
    out.rcx = qualification;
    out.rdx = extendedQualification;
    out.r8 = gpa;
  }

  /** Sets the exit reason and clears the rest; RBP is the host's own (NO_RBP_MOD). */
  private void begin(long reason) {
    SeamRegs blank = new SeamRegs();
    blank.rbp = out.rbp;
    blank.rax = reason;
    out.copyFrom(blank);
  }

  private static long pageOf(long gpa) {
    return gpa & -SeptEntry.bytes(0);
  }
}
