package dev.septum.mmu;

import dev.septum.kernel.LockMode;

/**
 * The kernel whose TDP MMU is modelled, where kernels differ in what can be seen of them.
 *
 * <p>All that depends on the generation is asked here; the rest of the MMU is the same for all.
 */
public enum KernelGeneration {
  /**
   * Linux 6.12: tables that a huge page could replace are zapped when dirty logging ends, and a
   * fault on a leaf that grants the access already writes the leaf anew.
   */
  LINUX_6_12(new ZapCollapsible(), LockMode.EXCLUSIVE),
  /**
   * Linux 7.1: such tables are replaced by the huge page at once (since 6.13), and such a fault is
   * spurious.
   */
  LINUX_7_1(new RecoverInPlace(), LockMode.SHARED);

  private final HugePageRecovery recovery;
  private final LockMode nxRecoveryMode;

  KernelGeneration(HugePageRecovery recovery, LockMode nxRecoveryMode) {
    this.recovery = recovery;
    this.nxRecoveryMode = nxRecoveryMode;
  }

  /** How huge pages come back when dirty logging ends. */
  HugePageRecovery recovery() {
    return recovery;
  }

  /** How the recovery worker of NX huge pages holds mmu_lock. */
  LockMode nxRecoveryMode() {
    return nxRecoveryMode;
  }

  /** Whether a fault writes a leaf anew that grants the access already. */
  boolean rewritesAccessibleLeafs() {
    return this == LINUX_6_12;
  }

  /**
   * Whether a leaf that replaces a writable one lacks the preset dirty bit. {@code make_spte} then
   * left early, before it set the bit.
   */
  boolean leavesDirtyToHardware() {
    return this == LINUX_6_12;
  }
}
