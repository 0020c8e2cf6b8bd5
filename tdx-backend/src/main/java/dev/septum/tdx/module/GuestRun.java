package dev.septum.tdx.module;

/** A vCPU inside the TD: executes the guest's instructions one by one until one exits. */
final class GuestRun {

  private final Seamcall enter;
  private final TdVcpu vcpu;
  private final TdGuest guest;
  private final TdExit exit;
  private final AcceptPage acceptPage;
  private final PageAttributes pageAttributes;

  GuestRun(Seamcall enter, TdVcpu vcpu, TdGuest guest) {
    this.enter = enter;
    this.vcpu = vcpu;
    this.guest = guest;
    exit = new TdExit(enter.out());
    acceptPage = new AcceptPage(enter, vcpu.td(), exit);
    pageAttributes = new PageAttributes(enter, vcpu.td(), exit);
  }

  /**
   * Runs from where the guest stopped last; {@code host} has the host's answer to a VMCALL. An
   * interrupt is taken between instructions only.
   */
  void untilExit(SeamRegs host) {
    retireVmcall(host);
    boolean inside = true;
    while (inside) {
      if (enter.isGuestInterrupted()) {
        exit.externalInterrupt();
        return;
      }
      inside = execute(guest.next());
    }
  }

  /** Executes one instruction; false if the vCPU left the TD. */
  private boolean execute(GuestInstruction instruction) {
    if (instruction instanceof GuestInstruction.Access access) {
      return vcpu.td().isPrivate(access.gpa()) ? accessPrivate(access) : accessShared(access);
    }
    if (instruction instanceof GuestInstruction.Vmcall vmcall) {
      return exitFor(PendingVmcall.of(vmcall));
    }
    if (instruction instanceof GuestInstruction.MaskedVmcall vmcall
        && PendingVmcall.isLegal(vmcall)) {
      return exitFor(PendingVmcall.of(vmcall));
    }
    return finish(instruction, tdcall(instruction));
  }

  private TdcallResult tdcall(GuestInstruction instruction) {
    if (instruction instanceof GuestInstruction.Accept accept) {
      return acceptPage.run(accept);
    }
    if (instruction instanceof GuestInstruction.AttrRead read) {
      return pageAttributes.read(read);
    }
    if (instruction instanceof GuestInstruction.AttrWrite write) {
      return pageAttributes.write(write);
    }
    if (instruction instanceof GuestInstruction.WriteTdControls write) {
      return vcpu.td().controls().write(write.value(), vcpu.td().params());
    }
    // What is left is a VMCALL whose mask is illegal.
    return instruction instanceof GuestInstruction.VeInfoGet
        ? vcpu.veInfo.get()
        : TdcallResult.status(TdxStatus.TDX_OPERAND_INVALID, OperandId.RCX);
  }

  private boolean finish(GuestInstruction tdcall, TdcallResult result) {
    return switch (result.end()) {
      case RETIRED -> retireTdcall(tdcall, result);
      case INTERRUPTED -> true;
      case EXITED -> fault();
    };
  }

  /** BUSY for the sake of host priority looks like any BUSY to the guest, until it times out. */
  private boolean retireTdcall(GuestInstruction tdcall, TdcallResult result) {
    long rax = result.rax();
    boolean backsOff = TdxStatus.code(rax) == TdxStatus.TDX_OPERAND_BUSY_HOST_PRIORITY;
    boolean timedOut =
        vcpu.backOff.hasTimedOut(
            rax, enter.processor().microseconds(), vcpu.td().params().hostPriorityTimeout());
    retire(
        tdcall,
        backsOff
            ? new GuestOutcome.Status(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX)
            : result.outcome());
    if (timedOut) {
      exit.hostPriorityTimeout();
    }
    return !timedOut;
  }

  private boolean accessShared(GuestInstruction.Access access) {
    long gpa = access.gpa() & ~vcpu.td().sharedBit();
    if (enter.processor().isSharedMapped(gpa, access.kind())) {
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
    if (vcpu.td().controls().isPendingVeDisabled()) {
      exit.pendingEptViolation(access.gpa(), access.kind(), slot);
      return fault();
    }
    return retire(
        access, vcpu.veInfo.raise(access, TdExit.qualification(access.kind(), slot), guest));
  }

  private boolean exitFor(PendingVmcall vmcall) {
    vcpu.pendingVmcall = vmcall;
    exit.vmcall(vmcall);
    return false;
  }

  private void retireVmcall(SeamRegs host) {
    PendingVmcall vmcall = vcpu.pendingVmcall;
    if (vmcall != null) {
      vcpu.pendingVmcall = null;
      retire(vmcall.instruction(), vmcall.returned(host));
    }
  }

  private boolean retire(GuestInstruction instruction, GuestOutcome outcome) {
    vcpu.zeroSteps.progressed();
    guest.retired(instruction, outcome);
    return true;
  }

  /** The vCPU left at an EPT violation on a private GPA, without progress. */
  private boolean fault() {
    vcpu.zeroSteps.faulted(exit.violation());
    return false;
  }
}
