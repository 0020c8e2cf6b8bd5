package dev.septum.kvm;

/** What kind of VM ({@code KVM_X86_*_VM}). */
public enum VmType {
  /** An ordinary VM: no private memory, two address spaces. */
  DEFAULT,
  /** Private memory without hardware behind it ({@code KVM_X86_SW_PROTECTED_VM}). */
  SW_PROTECTED,
  /** A trust domain: private memory in an external page table ({@code KVM_X86_TDX_VM}). */
  TDX;

  /** Whether guest frames can be private ({@code kvm_arch_has_private_mem}). */
  public boolean hasPrivateMemory() {
    return this != DEFAULT;
  }

  /** Whether private memory is mapped through a mirror root ({@code kvm_has_mirrored_tdp}). */
  public boolean hasMirroredTdp() {
    return this == TDX;
  }
}
