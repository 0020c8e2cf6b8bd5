package dev.septum.tdx.module;

/** A vCPU inside the TD: executes the guest's instructions one by one until one exits. */
final class GuestRun {

  private final TdVcpu vcpu;
  private final TdGuest guest;
  private final LogicalProcessor processor;
  private final TdExit exit;
  private final AcceptPage acceptPage;

  GuestRun(TdVcpu vcpu, TdGuest guest, LogicalProcessor processor, TdExit exit) {
    this.vcpu = vcpu;
    this.guest = guest;
    this.processor = processor;
    this.exit = exit;
    acceptPage = new AcceptPage(vcpu.td(), processor, exit);
  }

  /**
   * Runs from where the guest stopped last; {@code host} has the host's answer to a VMCALL. An
   * interrupt is taken between instructions only.
   */
  void untilExit(SeamRegs host) {
    retireVmcall(host);
    boolean inside = true;
    while (inside) {
      if (processor.isInterruptPending()) {
        exit.externalInterrupt();
        return;
      }
      inside = execute(guest.next());
    }
  }

  /** Executes one instruction; false if the vCPU left the TD. */
  private boolean execute(GuestInstruction instruction) {
    if (instruction instanceof GuestInstruction.Accept accept) {
      return accept(accept);
    }
    if (instruction instanceof GuestInstruction.Access access) {
      return vcpu.td().isPrivate(access.gpa()) ? accessPrivate(access) : accessShared(access);
    }
    GuestInstruction.Vmcall vmcall = (GuestInstruction.Vmcall) instruction;
    vcpu.pendingVmcall = vmcall;
    exit.vmcall(vmcall);
    return false;
  }

  private boolean accept(GuestInstruction.Accept accept) {
    AcceptPage.Result result = acceptPage.run(accept);
    return switch (result.end()) {
      case RETIRED -> retire(accept, new GuestOutcome.Status(result.rax()));
      case INTERRUPTED -> true;
      case EXITED -> fault();
    };
  }

  private boolean accessShared(GuestInstruction.Access access) {
    long gpa = access.gpa() & ~vcpu.td().sharedBit();
    if (processor.isSharedMapped(gpa, access.kind())) {
      return retire(access, new GuestOutcome.Done());
    }
    exit.sharedEptViolation(access.gpa(), access.kind());
    return false;
  }

  private boolean accessPrivate(GuestInstruction.Access access) {
    SeptSlot slot = vcpu.td().sept().walk(access.gpa(), 0);
    SeptState state = slot.state();
    while (state == SeptState.NL_MAPPED) {
      // A DEMOTE that needs no blocking got between the walk and this look: hardware walks on.
      slot = vcpu.td().sept().walk(access.gpa(), 0);
      state = slot.state();
    }
    if (state == SeptState.MAPPED) {
      return retire(access, new GuestOutcome.Done());
    }
    if (state != SeptState.PENDING) {
      exit.privateEptViolation(access.gpa(), access.kind(), slot);
      return fault();
    }
    if (vcpu.td().params().isSeptVeDisabled()) {
      exit.pendingEptViolation(access.gpa(), access.kind(), slot);
      return fault();
    }
    return retire(
        access,
        new GuestOutcome.VirtualizationException(
            access.gpa(), TdExit.qualification(access.kind(), slot)));
  }

  private void retireVmcall(SeamRegs host) {
    GuestInstruction.Vmcall vmcall = vcpu.pendingVmcall;
    if (vmcall != null) {
      vcpu.pendingVmcall = null;
      retire(
          vmcall,
          new GuestOutcome.VmcallReturned(
              host.r10, host.r11, host.r12, host.r13, host.r14, host.r15));
    }
  }

  private boolean retire(GuestInstruction instruction, GuestOutcome outcome) {
    vcpu.zeroSteps.progressed();
    guest.retired(instruction, outcome);
    return true;
  }

  /** The vCPU left at an EPT violation on a private GPA, without progress. */
  private boolean fault() {
    vcpu.zeroSteps.faulted();
    return false;
  }
}
