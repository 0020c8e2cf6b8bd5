package dev.septum.tdx.module;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.SharedWord;
import org.jspecify.annotations.Nullable;

/**
 * One vCPU: what its TDVPS holds.
 *
 * <p>Plain fields change under the exclusive TDVPR page, or by the one thread that runs the vCPU.
 */
final class TdVcpu {

  /** The fewest pages that make a TDVPS, the TDVPR among them. */
  static final int TDVPS_PAGES = 6;

  /** The most pages: three more for each of three nested VMs. */
  static final int MAX_TDVPS_PAGES = 15;

  private static final int NOBODY = -1;

  private final Td td;
  private final SharedWord running;
  private final SharedWord epoch;
  private int processor = NOBODY;

  VcpuState state = VcpuState.UNINITIALIZED;
  int pages = 1;
  final ZeroStepGuard zeroSteps = new ZeroStepGuard();
  final HostPriorityBackOff backOff = new HostPriorityBackOff();
  final VeInfoArea veInfo = new VeInfoArea();

  /** The VMCALL that the host is working on: it retires at the next entry. */
  @Nullable PendingVmcall pendingVmcall;

  TdVcpu(Kernel kernel, Td td) {
    this.td = td;
    running = kernel.word(0).named("TD vCPU running");
    epoch = kernel.word(0).named("TD vCPU epoch");
  }

  Td td() {
    return td;
  }

  /** Claims the vCPU for one VP.ENTER. */
  boolean tryStartRunning() {
    return running.compareAndSet(0, 1);
  }

  void stopRunning() {
    running.set(0);
  }

  boolean isRunning() {
    return running.get() != 0;
  }

  /** VCPU_EPOCH: the TD's epoch when the vCPU entered last. */
  SharedWord epoch() {
    return epoch;
  }

  boolean isAssociated() {
    return processor != NOBODY;
  }

  boolean isAssociatedWith(int number) {
    return processor == number;
  }

  /** Remembers that this processor may cache the vCPU's state. */
  void associate(int number) {
    if (!isAssociated()) {
      processor = number;
      td.associatedVcpus().addAndGet(1);
    }
  }

  /** VP.FLUSH: no processor caches this vCPU's state. */
  void disassociate() {
    processor = NOBODY;
    td.associatedVcpus().addAndGet(-1);
  }
}
