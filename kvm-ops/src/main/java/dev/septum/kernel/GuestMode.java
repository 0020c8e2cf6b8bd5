package dev.septum.kernel;

/**
 * Where one vCPU is ({@code vcpu->mode}), and the kick that gets it out of the guest.
 *
 * <p>The vCPU's own thread enters and leaves; any other thread kicks.
 */
public interface GuestMode {

  /** The vCPU enters the guest. */
  void enter();

  /** The vCPU leaves the guest; a kick that waits for it is satisfied. */
  void leave();

  /** Whether the vCPU is in the guest. */
  boolean isInGuest();

  /** Whether the guest must be left because somebody kicked. Read by the vCPU while inside. */
  boolean isExitRequested();

  /**
   * Makes the vCPU leave the guest and waits until it has ({@code kvm_make_all_cpus_request} with
   * {@code KVM_REQ_OUTSIDE_GUEST_MODE}); returns whether it had to.
   */
  boolean kickAndWait();
}
