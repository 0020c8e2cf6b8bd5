package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A memory slot (KVM_SET_USER_MEMORY_REGION2). */
public record SlotSetup(
    @JsonProperty(required = true) @JsonPropertyDescription("The slot's number, from 1 on.")
        Integer slot,
    @JsonPropertyDescription(
            "The address space that it is in: 0, or 1 for vCPUs in SMM. Default: 0.")
        Integer addressSpace,
    @JsonProperty(required = true) @JsonPropertyDescription("Where it begins in guest memory.")
        Bytes gpa,
    @JsonProperty(required = true) @JsonPropertyDescription("Its size.") Bytes size,
    @JsonPropertyDescription("The guest_memfd behind its private memory.") @Nullable String file,
    @JsonPropertyDescription("Where in the file the slot begins. Default: 0.") Bytes offset,
    @JsonPropertyDescription(
            "Host pages behind its shared memory; 2M and 1G are reserved as hugetlbfs does."
                + " Default: 4K.")
        Level backing,
    @JsonPropertyDescription(
            "Where its shared memory is in the VMM's memory of single pages: slots with the same"
                + " have the same pages. Default: as gpa.")
        @Nullable Bytes hva,
    @JsonPropertyDescription("log-dirty-pages, read-only.") List<Flag> flags,
    @JsonPropertyDescription(
            "Whether its memory is private when the slot is made. Default: true for a TD, else"
                + " false.")
        @JsonProperty("private")
        @Nullable Boolean isPrivate) {

  /** A flag of a slot. */
  public enum Flag {
    @JsonProperty("log-dirty-pages")
    LOG_DIRTY_PAGES(1),
    @JsonProperty("read-only")
    READ_ONLY(2);

    private final int bit;

    Flag(int bit) {
      this.bit = bit;
    }

    /** The flags as KVM has them. */
    public static int bits(List<Flag> flags) {
      return flags.stream().mapToInt(flag -> flag.bit).reduce(0, (a, b) -> a | b);
    }
  }

  /** Fills in what the file leaves out. */
  public SlotSetup {
    addressSpace = addressSpace == null ? 0 : addressSpace;
    offset = offset == null ? new Bytes(0) : offset;
    backing = backing == null ? Level.SIZE_4K : backing;
    flags = flags == null ? ImmutableList.of() : ImmutableList.copyOf(flags);
  }

  /** What KVM knows the slot by. */
  public int id() {
    return id(slot, addressSpace);
  }

  /** A slot's number with its address space, as KVM has it. */
  public static int id(int slot, @Nullable Integer addressSpace) {
    return slot | (addressSpace == null ? 0 : addressSpace << 16);
  }

  /** The slot's bytes of guest memory. */
  public ByteRange range() {
    return new ByteRange(gpa.value(), gpa.value() + size.value());
  }
}
