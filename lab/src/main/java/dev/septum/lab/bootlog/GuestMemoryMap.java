package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * What a boot log says of a TDX guest: the guest to build.
 *
 * @param ram its memory, ascending, without overlaps, never empty
 * @param swiotlb the DMA bounce buffer, inside the RAM
 * @param assumptions what the log does not say
 * @param evidence why it is a TDX guest
 * @param vcpus the number of vCPUs, if the log has it
 * @param log the log's name as the user gave it
 */
public record GuestMemoryMap(
    ImmutableList<RamRange> ram,
    Optional<SwiotlbBuffer> swiotlb,
    ImmutableList<Assumption> assumptions,
    TdxEvidence evidence,
    OptionalInt vcpus,
    String log) {

  /** All RAM in bytes. */
  public long ramBytes() {
    return ram.stream().mapToLong(RamRange::bytes).sum();
  }
}
