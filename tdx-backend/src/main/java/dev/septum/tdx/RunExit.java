package dev.septum.tdx;

import dev.septum.kvm.Errno;

/** Why KVM_RUN returned. */
public sealed interface RunExit {

  /** The guest halted. */
  record Halt() implements RunExit {}

  /**
   * The guest wants memory converted ({@code KVM_HC_MAP_GPA_RANGE}); answer with {@link
   * VcpuTdx#completeExit}.
   *
   * @param gpa bytes, without the shared bit
   * @param bytes a multiple of 4096
   */
  record MapGpa(long gpa, long bytes, boolean toPrivate) implements RunExit {}

  /** The guest used memory of the other kind ({@code KVM_EXIT_MEMORY_FAULT}). Bytes. */
  record MemoryFault(long gpa, long bytes, boolean isPrivate) implements RunExit {}

  /** KVM_RUN failed. */
  record Failed(Errno error, String reason) implements RunExit {}
}
