package dev.septum.lab.report;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.lab.BootOptions;
import dev.septum.lab.bootlog.AcceptPlan;
import dev.septum.lab.bootlog.Assumption;
import dev.septum.lab.bootlog.GuestMemoryMap;
import dev.septum.lab.bootlog.RamRange;
import dev.septum.lab.bootlog.SwiotlbBuffer;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * What the host did to boot one guest.
 *
 * <p>JSON has the fields in the order in which they are declared here, and maps in the order in
 * which they were filled. Counters are whole numbers, addresses are hexadecimal strings. A change
 * of a name or a meaning changes {@link #FORMAT}; a new field does not.
 *
 * @param format {@link #FORMAT}
 * @param seamcalls SEAMCALLs by leaf function
 */
public record BootReport(
    String format,
    GuestSection guest,
    HostSection host,
    MemorySection memory,
    AcceptSection accepts,
    FaultSection faults,
    ImmutableMap<String, Long> seamcalls,
    SplitSection splits,
    ConversionSection conversions,
    CacheSection splitCache,
    PamtSection pamt,
    LockSection mmuLock,
    RetrySection retries,
    PagesSection pages,
    StatsSection stats,
    OutcomeSection outcome) {

  /** Name and version of the JSON form. */
  public static final String FORMAT = "septum-boot/1";

  /**
   * Who booted.
   *
   * @param evidence why it is a TDX guest
   * @param evidenceLine where the log says so, 0 if it does not
   * @param touchFirst whether the guest touched memory before it accepted it
   */
  public record GuestSection(
      String log,
      String evidence,
      int evidenceLine,
      boolean evidenceCertain,
      long vcpus,
      boolean touchFirst) {

    /** The guest of a map. */
    public static GuestSection of(GuestMemoryMap map, BootOptions options) {
      return new GuestSection(
          map.log(),
          map.evidence().text(),
          map.evidence().line(),
          map.evidence().certain(),
          options.vcpus(),
          options.touchFirst());
    }
  }

  /**
   * The emulated host.
   *
   * @param tdxModule whether it has one; what only the module and its users count is 0 if not
   */
  public record HostSection(
      long memoryBytes,
      String placement,
      long seed,
      boolean dynamicPamt,
      String mapGpaChunk,
      String backend,
      boolean tdxModule) {

    /** The host that the options describe, of the size that it got. */
    public static HostSection of(BootOptions options, long memoryBytes, boolean tdxModule) {
      return new HostSection(
          memoryBytes,
          options.placement().name().toLowerCase(Locale.ROOT),
          options.seed(),
          tdxModule && options.dynamicPamt(),
          options.mapGpaChunk().toString(),
          options.backend().name(),
          tdxModule);
    }
  }

  /** The guest's memory, and what was assumed of it. */
  public record MemorySection(
      long ramKib,
      ImmutableList<RangeRow> ranges,
      @Nullable BufferRow swiotlb,
      ImmutableList<String> assumptions) {

    /** The memory of a map. */
    public static MemorySection of(GuestMemoryMap map) {
      return new MemorySection(
          map.ramBytes() >> 10,
          AcceptPlan.of(map).ranges().stream()
              .map(RangeRow::of)
              .collect(ImmutableList.toImmutableList()),
          map.swiotlb().map(BufferRow::of).orElse(null),
          map.assumptions().stream()
              .map(Assumption::text)
              .collect(ImmutableList.toImmutableList()));
    }

    /** The same with more assumptions at the end. */
    public MemorySection withAssumptions(ImmutableList<String> more) {
      return new MemorySection(
          ramKib,
          ranges,
          swiotlb,
          ImmutableList.<String>builder().addAll(assumptions).addAll(more).build());
    }
  }

  /**
   * One range of RAM.
   *
   * @param end the first address after it
   * @param line the log's line, 0 for none
   * @param accepts2m accepts at 2M that the range takes if every one succeeds
   * @param accepts4k accepts at 4K beside these
   */
  public record RangeRow(
      String start,
      String end,
      long kib,
      String source,
      boolean assumed,
      int line,
      long accepts2m,
      long accepts4k) {

    static RangeRow of(AcceptPlan.RangeAccepts accepts) {
      RamRange range = accepts.range();
      return new RangeRow(
          hex(range.startGpa()),
          hex(range.endGpa()),
          range.bytes() >> 10,
          range.source().toString(),
          range.assumed(),
          range.line(),
          accepts.accepts2m(),
          accepts.accepts4k());
    }
  }

  /**
   * The DMA bounce buffer.
   *
   * @param end the first address after it
   */
  public record BufferRow(String start, String end, long kib, boolean assumed) {

    static BufferRow of(SwiotlbBuffer buffer) {
      return new BufferRow(
          hex(buffer.startGpa()), hex(buffer.endGpa()), buffer.bytes() >> 10, buffer.assumed());
    }
  }

  /** Accepts that succeeded, by level. */
  public record AcceptSection(ImmutableMap<String, Long> byLevel) {}

  /** EPT violations and faults, by kind. */
  public record FaultSection(ImmutableMap<String, Long> byKind) {}

  /** Splits of huge leafs, by what made them necessary. */
  public record SplitSection(ImmutableMap<String, Long> byCause) {}

  /**
   * Private memory made shared.
   *
   * @param mapGpaCalls MapGPA calls of the guest
   * @param chunks exits to user space that these became
   * @param wholeLeafsZapped huge leafs dropped without a split
   * @param smallLeafsZapped 4K leafs dropped
   */
  public record ConversionSection(
      long mapGpaCalls, long chunks, long wholeLeafsZapped, long smallLeafsZapped) {}

  /** The per-VM cache of pages for splits. */
  public record CacheSection(long topups, long pagesPutIn, long pagesDrawn, long pagesLeft) {}

  /**
   * Dynamic PAMT.
   *
   * @param getsFast gets that found the page pair installed
   * @param getsSlow gets that installed it
   * @param pairsNow page pairs installed when the boot was over
   */
  public record PamtSection(
      long getsFast, long getsSlow, long puts, long pairsNow, long pairsPeak) {}

  /** Why mmu_lock was dropped in the middle of a walk. */
  public record LockSection(ImmutableMap<String, Long> dropsByReason) {}

  /**
   * What had to be done again.
   *
   * @param busy SEAMCALLs that found an operand busy
   * @param kicks vCPUs made to leave the guest
   */
  public record RetrySection(long busy, long kicks) {}

  /** The host's pages: Secure EPT pages at the end of the boot, and all pages by owner. */
  public record PagesSection(
      long secureEpt,
      ImmutableMap<String, Long> afterBoot,
      ImmutableMap<String, Long> afterDestruction) {}

  /** KVM's statistics under the names of debugfs, of the VM and of each vCPU. */
  public record StatsSection(
      ImmutableMap<String, Long> vm, ImmutableList<ImmutableMap<String, Long>> vcpus) {}

  /**
   * Whether all held.
   *
   * @param leaks pages that did not come back, by owner
   * @param bug the splat of the VM, if it is bugged
   * @param violations other invariants that were broken
   */
  public record OutcomeSection(
      ImmutableMap<String, Long> leaks, @Nullable String bug, ImmutableList<String> violations) {

    /** Whether every page is back and no invariant was violated. */
    @JsonProperty("held")
    public boolean held() {
      return leaks.isEmpty() && bug == null && violations.isEmpty();
    }
  }

  private static String hex(long gpa) {
    return "0x" + Long.toHexString(gpa);
  }
}
