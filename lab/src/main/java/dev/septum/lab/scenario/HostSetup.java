package dev.septum.lab.scenario;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyDescription;
import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Placement;
import java.util.Locale;
import java.util.Map;

/** The machine of a scenario. */
public record HostSetup(
    @JsonPropertyDescription("Host memory, a multiple of 2M. Default: 4G.") Bytes memory,
    @JsonPropertyDescription(
            "Where single pages come from: sequential (neighbours), scattered (each from another 2M"
                + " range, so that a new S-EPT page needs a new page pair) or seeded. Default:"
                + " sequential.")
        PlacementName placement,
    @JsonPropertyDescription("The seed of the seeded placement. Default: 1.") Long seed,
    @JsonPropertyDescription("Whose TDP MMU ordinary VMs have. Default: linux-7.1.")
        KernelName kernel,
    @JsonPropertyDescription(
            "Parameters of the kvm module, such as eager_page_split: N or nx_huge_pages: Y.")
        Map<String, String> parameters,
    @JsonPropertyDescription("Whether the TDX module has Dynamic PAMT. Default: true.")
        Boolean dynamicPamt,
    @JsonPropertyDescription(
            "Whether DEMOTE ignores interrupts (feature bit 51); without it nothing private is"
                + " mapped at 2M. Default: true.")
        Boolean enhancedDemoteInterruptibility,
    @JsonPropertyDescription(
            "Whether DEMOTE takes a leaf that is not blocked, so that splits need only the read"
                + " mmu_lock. Default: false.")
        Boolean nonBlockingResize) {

  static final HostSetup DEFAULT =
      new HostSetup(
          new Bytes(4L << 30),
          PlacementName.SEQUENTIAL,
          1L,
          KernelName.LINUX_7_1,
          ImmutableMap.of(),
          true,
          true,
          false);

  /** {@link Placement} as files name it. */
  public enum PlacementName {
    @JsonProperty("sequential")
    SEQUENTIAL(Placement.SEQUENTIAL),
    @JsonProperty("scattered")
    SCATTERED(Placement.SCATTERED),
    @JsonProperty("seeded")
    SEEDED(Placement.SEEDED);

    private final Placement placement;

    PlacementName(Placement placement) {
      this.placement = placement;
    }

    /** The allocator's word for it. */
    public Placement placement() {
      return placement;
    }

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** A generation of the kernel as files name it. */
  public enum KernelName {
    @JsonProperty("linux-6.12")
    LINUX_6_12,
    @JsonProperty("linux-7.1")
    LINUX_7_1
  }

  /** Fills in what the file leaves out. */
  public HostSetup {
    memory = memory == null ? DEFAULT.memory : memory;
    placement = placement == null ? PlacementName.SEQUENTIAL : placement;
    seed = seed == null ? 1L : seed;
    kernel = kernel == null ? KernelName.LINUX_7_1 : kernel;
    parameters = parameters == null ? ImmutableMap.of() : ImmutableMap.copyOf(parameters);
    dynamicPamt = dynamicPamt == null || dynamicPamt;
    enhancedDemoteInterruptibility =
        enhancedDemoteInterruptibility == null || enhancedDemoteInterruptibility;
    nonBlockingResize = nonBlockingResize != null && nonBlockingResize;
  }
}
