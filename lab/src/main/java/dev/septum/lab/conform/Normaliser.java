package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.lab.conform.NormalisedOp.Kind;
import dev.septum.lab.conform.NormalisedOp.Part;
import java.util.List;
import java.util.Map;

/**
 * Turns what one side did into text, operation by operation.
 *
 * <p>What the recording does not have of an operation is left out on both sides.
 */
final class Normaliser {

  /** The vCPU statistics that do not depend on the host's timer and scheduler. */
  private static final ImmutableList<String> VCPU_STATS =
      ImmutableList.of(
          "pf_taken",
          "pf_fixed",
          "pf_emulate",
          "pf_spurious",
          "pf_fast",
          "pf_mmio_spte_created",
          "io_exits",
          "mmio_exits",
          "insn_emulation",
          "tlb_flush");

  /** What starts with this may give pages back that the recording does not list. */
  private static final String GUEST_MEMFD = "guest_memfd_";

  private final ComparedEvents compared;
  private final SideFrames frames;
  private Backing before = Backing.NONE;

  private Normaliser(ComparedEvents compared, SideFrames frames) {
    this.compared = compared;
    this.frames = frames;
  }

  /** The recording's side. */
  static Normaliser ofRecording(Recording.Header header) {
    return new Normaliser(new ComparedEvents(header), SideFrames.ofRecording(header.rootLevel()));
  }

  /** The other side. The recording's side must see each operation first. */
  Normaliser ofReplay() {
    return new Normaliser(compared, frames.ofReplay());
  }

  /** Whether the event is one of those that are compared. */
  boolean compares(Event event) {
    return compared.contains(event);
  }

  /** The text of the next operation. */
  NormalisedOp next(RecordedOp op, OpOutcome outcome) {
    Backing after = op.backing().orElse(before);
    frames.begin(FrameSet.listed(before, after));
    before = after;
    return new NormalisedOp(
        op.toString(),
        ImmutableList.of(
            new Part(
                Kind.ANSWER,
                ImmutableList.of("rc %d errno %d".formatted(outcome.rc(), outcome.errno()))),
            new Part(Kind.EVENTS, op.isTraced() ? events(outcome) : ImmutableList.of()),
            new Part(Kind.STATS, stats(op, outcome)),
            new Part(Kind.REPORT, reports(op.outcome(), outcome)),
            new Part(Kind.TABLES, tables(op, outcome))));
  }

  private ImmutableList<String> events(OpOutcome outcome) {
    return outcome.events().stream()
        .filter(compared::contains)
        .map(event -> frames.event(event).toString())
        .collect(ImmutableList.toImmutableList());
  }

  private static ImmutableList<String> stats(RecordedOp op, OpOutcome outcome) {
    ImmutableList.Builder<String> lines = ImmutableList.builder();
    for (String stat : op.outcome().vmStats().keySet()) {
      lines.add("vm %s %d".formatted(stat, outcome.vmStats().getOrDefault(stat, 0L)));
    }
    for (int vcpu : op.outcome().vcpuDeltas().keySet()) {
      Map<String, Long> delta = outcome.vcpuDeltas().getOrDefault(vcpu, Map.of());
      for (String stat : VCPU_STATS) {
        lines.add("vcpu%d %s +%d".formatted(vcpu, stat, delta.getOrDefault(stat, 0L)));
      }
      // An interrupt of the host is an exit that no guest asked for.
      long exits = delta.getOrDefault("exits", 0L) - delta.getOrDefault("irq_exits", 0L);
      lines.add("vcpu%d exits but for interrupts +%d".formatted(vcpu, exits));
    }
    return lines.build();
  }

  private static ImmutableList<String> reports(OpOutcome recorded, OpOutcome outcome) {
    ImmutableList.Builder<String> lines = ImmutableList.builder();
    if (recorded.dirtyRanges().isPresent()) {
      lines.addAll(dirtyPages(outcome.dirtyRanges().orElse(List.of())));
    }
    if (recorded.entries().isPresent()) {
      for (long[] entry : outcome.entries().orElse(List.of())) {
        lines.add("dirty ring: slot %d page %d".formatted(entry[0], entry[1]));
      }
    }
    if (recorded.mmioExits().isPresent()) {
      lines.add("mmio_exits %d".formatted(outcome.mmioExits().orElse(0)));
    }
    if (recorded.lastMmioGpa().isPresent()) {
      lines.add("last_mmio_gpa 0x%x".formatted(outcome.lastMmioGpa().orElse(-1)));
    }
    return lines.build();
  }

  /** One line for each range; ranges that touch are one. */
  private static ImmutableList<String> dirtyPages(List<long[]> ranges) {
    ImmutableList.Builder<String> lines = ImmutableList.builder();
    long start = -1;
    long end = -1;
    for (long[] range : ranges) {
      if (range[0] != end) {
        lines.addAll(dirtyPages(start, end));
        start = range[0];
      }
      end = range[0] + range[1];
    }
    return lines.addAll(dirtyPages(start, end)).build();
  }

  private static ImmutableList<String> dirtyPages(long start, long end) {
    return start == end
        ? ImmutableList.of()
        : ImmutableList.of("dirty pages [%d, %d)".formatted(start, end));
  }

  private ImmutableList<String> tables(RecordedOp op, OpOutcome outcome) {
    if (op.table().isEmpty()) {
      return ImmutableList.of();
    }
    if (outcome.table().isEmpty()) {
      return ImmutableList.of("no dump");
    }
    try {
      TableSnapshot tables = TableSnapshot.parse(outcome.table().get().lines().toList());
      ImmutableList<String> lines = frames.dump(tables).lines();
      if (op.name().startsWith(GUEST_MEMFD)) {
        frames.forgetUnmappedPages(tables);
      }
      return lines;
    } catch (IllegalArgumentException e) {
      return ImmutableList.of("no dump, but line " + e.getMessage());
    }
  }
}
