package dev.septum.mmu;

/** Which page tables a root is the root of ({@code enum kvm_tdp_mmu_root_types}). */
enum RootKind {
  /** Walked by hardware: all memory of an ordinary VM, a TD's shared memory. */
  DIRECT,
  /** KVM's copy of a TD's Secure EPT. */
  MIRROR;

  static RootKind of(MmuPage root) {
    return root.isMirror() ? MIRROR : DIRECT;
  }
}
