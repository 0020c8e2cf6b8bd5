package dev.septum.lab;

import dev.septum.kernel.Placement;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import java.util.OptionalLong;

/**
 * How a guest is booted.
 *
 * @param backend whose decisions KVM takes on the host
 * @param vcpus the TD's vCPUs, 1 or more
 * @param mapGpaChunk what KVM hands to user space of one MapGPA
 * @param dynamicPamt whether 4K PAMT is installed page pair by page pair
 * @param touchFirst whether the guest touches memory before it accepts it
 * @param placement where the host's pages come from
 * @param seed for {@link Placement#SEEDED}
 * @param hostMemoryBytes size of the host, a multiple of 2 MiB and not less than the guest; empty
 *     for guest and head room
 * @param trace where trace events go
 */
public record BootOptions(
    KvmBackend backend,
    int vcpus,
    MapGpaChunk mapGpaChunk,
    boolean dynamicPamt,
    boolean touchFirst,
    Placement placement,
    long seed,
    OptionalLong hostMemoryBytes,
    TraceSink trace) {}
