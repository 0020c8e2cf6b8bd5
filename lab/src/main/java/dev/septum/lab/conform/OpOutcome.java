package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * What an operation did: the kernel's answer or our MMU's.
 *
 * @param events in the order in which they happened, all CPUs together
 * @param vmStats the VM's statistics after the operation, by the kernel's names; absent is 0
 * @param vcpuDeltas by how much each vCPU's statistics grew; absent is 0
 * @param dirtyRanges the pages that a dirty log reported, as first page and number of pages
 * @param entries what was harvested from a dirty ring, as slot and page
 * @param table the tables after the operation, in the format of {@code pt-NNN.txt}
 */
public record OpOutcome(
    int rc,
    int errno,
    ImmutableList<Event> events,
    ImmutableMap<String, Long> vmStats,
    ImmutableMap<Integer, Map<String, Long>> vcpuDeltas,
    Optional<List<long[]>> dirtyRanges,
    Optional<List<long[]>> entries,
    OptionalInt mmioExits,
    OptionalLong lastMmioGpa,
    Optional<String> table) {}
