package dev.septum.kvm;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;

/**
 * The machine that VMs run on.
 *
 * @param kernel locks, RCU, threads
 * @param pages its memory
 * @param trace where its trace events go
 */
public record Host(Kernel kernel, PageAllocator pages, TraceSink trace) {}
