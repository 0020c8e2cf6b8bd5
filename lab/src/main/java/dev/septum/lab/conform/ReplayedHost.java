package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.backend.Machine;
import dev.septum.mmu.DirtyLogBoundary;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MmuParams;
import dev.septum.mmu.SpteFormat;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** A host of the recorded kind, AMD and Linux 6.12, and the VM that operations are replayed on. */
final class ReplayedHost {

  /** More than the recorded host had: our frames lie above its own. */
  private static final long MEMORY_BYTES = 64L << 30;

  private static final String DESTROY = "destroy_vm";

  private final Recording.Header header;
  private final MmuParams params;
  private final EventLog events;
  private final Machine machine;
  private final RecordedMemory memory;
  private @Nullable ReplayedVm vm;

  ReplayedHost(Recording.Header header, DirtyLogBoundary boundary, KvmBackend backend) {
    this.header = header;
    this.params =
        MmuParams.of(SpteFormat.npt()).withRootLevel(header.rootLevel()).withBoundary(boundary);
    this.events = new EventLog(new ComparedEvents(header));
    Kernel kernel = Kernel.host();
    PageAllocator pages = new PageAllocator(kernel, MEMORY_BYTES, Placement.SEQUENTIAL, 0);
    this.machine =
        Machine.withoutTds(backend, new Host(kernel, pages, events), KernelGeneration.LINUX_6_12);
    this.memory = new RecordedMemory(pages);
    machine.module().setParameter("eager_page_split", header.eagerPageSplit() ? "Y" : "N");
    machine.module().setParameter("nx_huge_pages", header.nxHugePages() ? "Y" : "N");
  }

  /** Replays one operation. */
  OpOutcome run(RecordedOp op) throws RecordingException {
    ReplayedVm current = vm;
    if (current != null) {
      // What happened on its own since the last operation belongs to none.
      new HostActions(op.linesBefore()).repeat(current.mmu().notifier(), Integer.MAX_VALUE);
      recoverAsRecorded(op.linesBefore());
      if (op.name().equals(DESTROY)) {
        current.closeMemfd();
      }
      events.clear();
      current.begin();
    }
    memory.begin(op.backing());
    recoverAsRecorded(op.lines());
    OpResult result = dispatch(op);
    return outcome(result);
  }

  private OpResult dispatch(RecordedOp op) throws RecordingException {
    OpFields fields = op.fields();
    return switch (op.name()) {
      case "create_vm" -> createVm(fields);
      case "set_module_param" ->
          OpResult.of(
              machine
                  .module()
                  .setParameter(
                      fields.text("param").replaceFirst("^kvm\\.", ""), fields.text("value")));
      case "sleep" -> sleep(fields.longValue("ms"));
      case "host_mprotect" -> {
        memory.protect(fields.longValue("hva"), fields.longValue("len"), fields.longValue("prot"));
        yield vm(op).hostActs(op);
      }
      default -> vm(op).run(op);
    };
  }

  private OpResult createVm(OpFields fields) throws RecordingException {
    vm = new ReplayedVm(machine, params, memory, fields);
    return OpResult.of(Errno.OK);
  }

  /** Time passes: the recovery worker of NX huge pages runs once in each of its periods. */
  private OpResult sleep(long ms) {
    long period = machine.module().nxRecoveryPeriodMs();
    for (long slept = period; period > 0 && slept <= ms; slept += period) {
      machine.module().recoverNxHugePages();
    }
    return OpResult.of(Errno.OK);
  }

  /**
   * Lets the recovery worker run if it was seen to: outside of a sleep its time is its own, when a
   * parameter was written for example.
   */
  private void recoverAsRecorded(List<TraceLine> lines) {
    long zaps = lines.stream().filter(line -> line.event().equals("zap_sp")).count();
    for (long before = splits(); zaps > 0; before = splits()) {
      machine.module().recoverNxHugePages();
      long zapped = before - splits();
      zaps = zapped == 0 ? 0 : zaps - zapped;
    }
  }

  private long splits() {
    ReplayedVm current = vm;
    return current == null ? 0 : current.stats().getOrDefault("nx_lpage_splits", 0L);
  }

  private ReplayedVm vm(RecordedOp op) throws RecordingException {
    ReplayedVm current = vm;
    if (current == null) {
      throw new RecordingException("%s: %s before any create_vm".formatted(header.sequence(), op));
    }
    return current;
  }

  private OpOutcome outcome(OpResult result) {
    ImmutableList<Event> happened = events.take();
    ReplayedVm current = vm;
    if (current == null || current.isDestroyed()) {
      return new OpOutcome(
          result.rc(),
          result.errno(),
          happened,
          ImmutableMap.of(),
          ImmutableMap.of(),
          Optional.empty(),
          Optional.empty(),
          OptionalInt.empty(),
          OptionalLong.empty(),
          Optional.empty());
    }
    return new OpOutcome(
        result.rc(),
        result.errno(),
        happened,
        current.stats(),
        current.vcpuDeltas(),
        result.dirtyRanges(),
        result.entries(),
        result.mmioExits(),
        result.lastMmioGpa(),
        Optional.of(current.dump()));
  }
}
