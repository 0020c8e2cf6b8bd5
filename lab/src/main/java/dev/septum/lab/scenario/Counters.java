package dev.septum.lab.scenario;

import com.google.common.collect.ImmutableSet;
import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.VcpuStat;
import dev.septum.kvm.VmStat;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.TdxCounter;
import java.util.Arrays;
import java.util.stream.Stream;

/** What can be counted in a scenario, by the names that files use. */
public final class Counters {

  /** Before the name of a {@link SplitCause}. */
  public static final String SPLIT = "split_";

  /** Pages in a TD's split cache. */
  public static final String SPLIT_CACHE = "split_cache";

  /** Page pairs in the module. */
  public static final String PAIRS = "pairs";

  /** Counters of every VM: its statistics, those of its vCPUs added up, and what its MMU counts. */
  public static final ImmutableSet<String> OF_VMS =
      Stream.of(
              names(VmStat.values()),
              names(VcpuStat.values()),
              names(MmuCounter.values()),
              names(SplitCause.values()).map(cause -> SPLIT + cause))
          .flatMap(names -> names)
          .collect(ImmutableSet.toImmutableSet());

  /** Counters of TDs only. */
  public static final ImmutableSet<String> OF_TDS =
      Stream.concat(names(TdxCounter.values()), Stream.of(SPLIT_CACHE))
          .collect(ImmutableSet.toImmutableSet());

  /** Counters of the host: those of Dynamic PAMT. */
  public static final ImmutableSet<String> OF_THE_HOST =
      Stream.concat(names(PamtCounter.values()), Stream.of(PAIRS))
          .collect(ImmutableSet.toImmutableSet());

  /** Owners of pages. */
  public static final ImmutableSet<String> OWNERS =
      Arrays.stream(PageOwner.values()).map(PageOwner::tag).collect(ImmutableSet.toImmutableSet());

  /** What can fail to be allocated: pages for an owner, and the headers of page tables. */
  static final ImmutableSet<String> ALLOCATIONS =
      Stream.concat(
              OWNERS.stream().filter(owner -> !owner.equals(PageOwner.FREE.tag())),
              Stream.of("kvm_mmu_page_header"))
          .collect(ImmutableSet.toImmutableSet());

  private Counters() {}

  /** All names, a line each, under whom they belong to. */
  public static String text() {
    return "Of every VM:\n  %s\nOf a TD:\n  %s\nOf the host:\n  %s\n"
        .formatted(
            String.join("\n  ", OF_VMS),
            String.join("\n  ", OF_TDS),
            String.join("\n  ", OF_THE_HOST));
  }

  private static Stream<String> names(Enum<?>[] counters) {
    return Arrays.stream(counters).map(Enum::toString);
  }
}
