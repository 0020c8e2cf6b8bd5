package dev.septum.tdx;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestAccept;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.RetPf;
import org.jspecify.annotations.Nullable;

/** EPT violations of one vCPU ({@code tdx_handle_ept_violation}). No lock held. */
final class EptViolations {

  private static final long QUALIFICATION_WRITE = 1L << 1;
  private static final long QUALIFICATION_INSTRUCTION = 1L << 2;
  private static final long QUALIFICATION_PROTECTION = 7L << 3;
  private static final int TYPE_ACCEPT = 1;
  private static final int TYPE_PENDING = 6;

  private final VcpuTdx vcpu;
  private final KvmTdx kvm;
  private final KvmMmu mmu;
  private final LockMode acceptLock;

  EptViolations(VcpuTdx vcpu) {
    this.vcpu = vcpu;
    this.kvm = vcpu.td();
    this.mmu = kvm.mmu();
    this.acceptLock = kvm.design().acceptLock().on(kvm.tdxHost());
  }

  /** Null if the guest can go on. */
  @Nullable RunExit handle(long gpa, long qualification, long extendedQualification) {
    return (gpa & kvm.sharedBit()) == 0
        ? handlePrivate(gpa, qualification, extendedQualification)
        : handleShared(gpa, qualification);
  }

  private @Nullable RunExit handlePrivate(long gpa, long qualification, long extended) {
    kvm.counters().increment(TdxCounter.PRIVATE_EPT_VIOLATIONS);
    int type = (int) (extended & 0xf);
    if (type == TYPE_PENDING && (qualification & QUALIFICATION_PROTECTION) == 0) {
      return new RunExit.Failed(
          Errno.EIO, "guest access to unaccepted private GPA 0x" + Long.toHexString(gpa));
    }
    if (type == TYPE_ACCEPT) {
      kvm.counters().increment(TdxCounter.ACCEPT_EPT_VIOLATIONS);
      Errno error =
          GuestAccept.honorLevel(
              mmu, gpa >>> 12, PageLevel.of((int) (extended >>> 32 & 7) + 1), acceptLock);
      if (resumesIntoTheSameAccept(error)) {
        return null;
      }
      if (error.isError()) {
        return new RunExit.Failed(error, "the leaf around an accepted page could not be split");
      }
    }
    mmu.traceFault(vcpu, 0, gpa, QUALIFICATION_WRITE);
    return resolve(gpa, KvmMmu.privateWriteError());
  }

  /**
   * As posted, after a 1. Otherwise if the module was busy under the read lock, where no vCPU can
   * be kicked: a vCPU that kept it busy has to let the host go first before it can do so again.
   */
  private boolean resumesIntoTheSameAccept(Errno error) {
    return error == Errno.ONE || (error == Errno.EBUSY && acceptLock == LockMode.SHARED);
  }

  private @Nullable RunExit handleShared(long gpa, long qualification) {
    kvm.counters().increment(TdxCounter.SHARED_EPT_VIOLATIONS);
    boolean fetch = (qualification & QUALIFICATION_INSTRUCTION) != 0;
    if (kvm.bugOn(fetch, "instruction fetch from a shared GPA")) {
      return new RunExit.Failed(Errno.EIO, "instruction fetch from a shared GPA");
    }
    mmu.traceFault(vcpu, 0, gpa, qualification);
    return resolve(gpa, KvmMmu.sharedError((qualification & QUALIFICATION_WRITE) != 0, false));
  }

  /** Faults until there is an answer: a private fault is not worth an entry that faults again. */
  private @Nullable RunExit resolve(long gpa, long errorCode) {
    FaultOutcome outcome;
    do {
      if (kvm.isBugged()) {
        return new RunExit.Failed(Errno.EIO, "the VM is bugged: " + kvm.splat());
      }
      outcome = mmu.handleFault(vcpu.mmu(), gpa, errorCode);
    } while (outcome.result() == RetPf.RETRY && reload());
    return exitFor(gpa, outcome);
  }

  /** Lets others go on, and takes new roots if the old ones went. */
  private boolean reload() {
    kvm.kernel().condResched();
    return !vcpu.mmu().load().isError();
  }

  private static @Nullable RunExit exitFor(long gpa, FaultOutcome outcome) {
    FaultOutcome.MemoryFault memory = outcome.memoryFault();
    if (memory != null && outcome.error() == Errno.EFAULT) {
      return new RunExit.MemoryFault(memory.gpa(), memory.size(), memory.isPrivate());
    }
    return switch (outcome.result()) {
      case FIXED, SPURIOUS, RETRY -> null;
      case ERROR ->
          new RunExit.Failed(outcome.error(), "page fault at GPA 0x" + Long.toHexString(gpa));
      default -> new RunExit.Failed(Errno.EFAULT, "no memory at GPA 0x" + Long.toHexString(gpa));
    };
  }
}
