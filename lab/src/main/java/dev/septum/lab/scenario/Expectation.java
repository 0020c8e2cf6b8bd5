package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.tdx.module.SeamcallLeaf;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What must hold at a moment. */
public record Expectation(
    @JsonPropertyDescription("The VM; may be left out if there is only one.") @Nullable String vm,
    @JsonPropertyDescription("Only on these backends. Default: on all.") List<String> backends,
    @JsonPropertyDescription(
            "How ranges of private memory are mapped, from START..END to none, 4K, 2M or 1G; in a"
                + " TD by mirror and S-EPT alike, also with pending or accepted.")
        @JsonProperty("private")
        Map<ByteRange, Mapped> privateMemory,
    @JsonPropertyDescription("How ranges of shared memory are mapped.") @JsonProperty("shared")
        Map<ByteRange, Mapped> sharedMemory,
    @JsonPropertyDescription("Whether nothing else but the guest's code is mapped.")
        Boolean nothingElse,
    @JsonPropertyDescription("Which ranges are private and which shared.")
        Map<ByteRange, Kind> attributes,
    @JsonPropertyDescription(
            "Whether the 2M pages of ranges are mixed (private and shared frames in one).")
        Map<ByteRange, Boolean> mixed,
    @JsonPropertyDescription(
            "Whether the guest has forbidden 2M mappings in ranges, by an ACCEPT at 4K.")
        Map<ByteRange, Boolean> inhibited,
    @JsonPropertyDescription(
            "Statistics since the scenario began: those of /sys/kernel/debug/kvm (pages_4k,"
                + " pf_taken, ...), splits by cause (split_guest_accept, ...), and the emulator's"
                + " counters. septum run --counters lists them.")
        Map<String, Amount> stats,
    @JsonPropertyDescription("The same, by how much they grew in this phase.")
        Map<String, Amount> growth,
    @JsonPropertyDescription("SEAMCALLs in this phase, of a backend with a TDX module.")
        Map<SeamcallLeaf, Amount> seamcalls,
    @JsonPropertyDescription(
            "Host pages by owner: guest_memory, user_memory, mmu_page_table, sept_page,"
                + " external_page_table, pamt_cache, pamt_page, td_control, free.")
        Map<String, Amount> pages,
    @JsonPropertyDescription("Pages of files that have memory, by the files' names.")
        Map<String, Amount> allocated,
    @JsonPropertyDescription("Whether the VM is bugged (KVM_BUG_ON). Default: it must not be.")
        @Nullable Boolean bugged,
    @JsonPropertyDescription(
            "Texts, each a part of one violated invariant: all violations must be named, and each"
                + " must be there, from now on. Default: there is none.")
        List<String> violations,
    @JsonPropertyDescription(
            "Owners of pages that will be left when everything is gone: all must be named, and each"
                + " must be there. Default: there is none.")
        List<String> leaks) {

  /** Fills in what the file leaves out. */
  public Expectation {
    backends = backends == null ? ImmutableList.of() : ImmutableList.copyOf(backends);
    privateMemory = copy(privateMemory);
    sharedMemory = copy(sharedMemory);
    nothingElse = nothingElse != null && nothingElse;
    attributes = copy(attributes);
    mixed = copy(mixed);
    inhibited = copy(inhibited);
    stats = copy(stats);
    growth = copy(growth);
    seamcalls = copy(seamcalls);
    pages = copy(pages);
    allocated = copy(allocated);
    violations = violations == null ? ImmutableList.of() : ImmutableList.copyOf(violations);
    leaks = leaks == null ? ImmutableList.of() : ImmutableList.copyOf(leaks);
  }

  private static <K, V> Map<K, V> copy(@Nullable Map<K, V> map) {
    return map == null ? ImmutableMap.of() : ImmutableMap.copyOf(map);
  }

  /** Whether it is meant for a backend. */
  public boolean isFor(String backend) {
    return backends.isEmpty() || backends.contains(backend);
  }
}
