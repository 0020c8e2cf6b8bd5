package dev.septum.mmu;

import dev.septum.kvm.Errno;

/**
 * How far a {@code KVM_PRE_FAULT_MEMORY} came.
 *
 * @param error OK if at least one page was done, else why none was
 * @param bytesLeft what is left of the range
 */
public record PreFault(Errno error, long bytesLeft) {}
