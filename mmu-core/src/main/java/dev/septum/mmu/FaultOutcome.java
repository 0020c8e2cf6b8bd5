package dev.septum.mmu;

import dev.septum.kvm.Errno;
import org.jspecify.annotations.Nullable;

/**
 * What became of a fault.
 *
 * @param result the return code
 * @param error the errno if {@code result} is {@link RetPf#ERROR}, else OK
 * @param memoryFault what user space must put right first ({@code KVM_EXIT_MEMORY_FAULT}), or null
 */
public record FaultOutcome(RetPf result, Errno error, @Nullable MemoryFault memoryFault) {

  /**
   * A guest access that user space must prepare memory for.
   *
   * @param gpa bytes, without the shared bit
   * @param size bytes
   * @param isPrivate whether the guest took the page to be private
   */
  public record MemoryFault(long gpa, long size, boolean isPrivate) {}

  static FaultOutcome of(RetPf result) {
    return new FaultOutcome(result, Errno.OK, null);
  }

  static FaultOutcome error(Errno error) {
    return new FaultOutcome(RetPf.ERROR, error, null);
  }

  static FaultOutcome memoryFault(Errno error, PageFault fault) {
    return new FaultOutcome(
        RetPf.ERROR, error, new MemoryFault(fault.gfn() << 12, 4096, fault.isPrivate()));
  }
}
