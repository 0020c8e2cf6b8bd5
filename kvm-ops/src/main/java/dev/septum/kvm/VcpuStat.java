package dev.septum.kvm;

import java.util.Locale;

/** The statistics of a vCPU, named as in {@code /sys/kernel/debug/kvm}. */
public enum VcpuStat {
  /** Page faults handled. */
  PF_TAKEN,
  /** Faults that installed or fixed a mapping. */
  PF_FIXED,
  /** Faults that needed the instruction emulator. */
  PF_EMULATE,
  /** Faults whose mapping was there already. */
  PF_SPURIOUS,
  /** Faults fixed without a lock. */
  PF_FAST,
  /** MMIO SPTEs installed. */
  PF_MMIO_SPTE_CREATED,
  /** Exits from the guest. */
  EXITS,
  /** Exits to user space for a port access. */
  IO_EXITS,
  /** Exits to user space for an access to a gfn without memory. */
  MMIO_EXITS,
  /** Instructions that KVM executed for the guest. */
  INSN_EMULATION,
  /** TLB flushes asked for and done before the vCPU entered the guest again. */
  TLB_FLUSH,
  /** Hypercalls. */
  HYPERCALLS;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
