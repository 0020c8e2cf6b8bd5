package dev.septum.it;

import static dev.septum.it.TdScenario.GIB;
import static dev.septum.it.TdScenario.MIB;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.Placement;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.AcceptMemory.Order;
import dev.septum.tdx.guest.ConvertMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.guest.TouchMemory;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * vCPUs on real threads accept ranges of their own while another one converts memory to and fro.
 * Whatever the interleaving was, the invariants hold and the guest has its memory.
 */
final class ConcurrentTdTest {

  private static final int ACCEPTING = 3;
  private static final long PART = 16 * MIB;
  private static final long ACCEPTED_FRAMES = ACCEPTING * (PART >>> 12);

  @RegisterExtension
  final TdScenario host = TdScenario.of(TdxModuleConfig.defaults(), Placement.SEEDED, GIB);

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4})
  void disjointAccepts_whileAnotherVcpuConverts(long seed, TestReporter reporter) {
    reporter.publishEntry("seed", Long.toString(seed));
    Random random = new Random(seed);
    TdLayout layout =
        TdScenario.layout(ACCEPTING + 1, new TdLayout.Region(0, (ACCEPTING + 1) * PART));
    Vmm vmm = host.boot(TdScenario.withVirtualizationExceptions(layout));
    TdScenario.accept2M(vmm, ACCEPTED_FRAMES, (int) (PART / (2 * MIB)));

    List<KernelThread> threads = new ArrayList<>();
    for (int i = 0; i < ACCEPTING; i++) {
      int id = i + 1;
      GuestProgram program = new GuestProgram(accepts(random, i * PART));
      threads.add(
          host.kernel().spawn("vCPU " + id, () -> vmm.runToHalt(vmm.vcpus().get(id), program)));
    }
    List<GuestTask> conversions = conversions(random, ACCEPTING * PART);
    GuestProgram converting = new GuestProgram(conversions);
    threads.add(host.kernel().spawn("vCPU 0", () -> vmm.runToHalt(vmm.vcpus().get(0), converting)));
    threads.forEach(KernelThread::join);

    assertThat(conversions).allMatch(GuestTask::isDone);
    long privateFrames =
        new MmuView(vmm.kvm().mmu())
            .mirrorLeafs().stream()
                .filter(leaf -> leaf.gfn() < ACCEPTED_FRAMES)
                .mapToLong(leaf -> leaf.level().pages())
                .sum();
    assertThat(privateFrames).isEqualTo(ACCEPTED_FRAMES);
    // Everything is there for the guest: no page is lost or still to be accepted.
    TdScenario.run(vmm, new TouchMemory(0, ACCEPTING * PART, AccessKind.WRITE));
    assertThat(vmm.kvm().isBugged()).isFalse();
  }

  /** A part in pieces of odd sizes, each accepted in one of the two orders. */
  private static List<GuestTask> accepts(Random random, long start) {
    List<GuestTask> tasks = new ArrayList<>();
    long end = start + PART;
    for (long at = start; at < end; ) {
      long next = Math.min(end, at + 4096L * (1 + random.nextInt(1500)));
      Order order = random.nextBoolean() ? Order.ACCEPT_FIRST : Order.TOUCH_FIRST;
      tasks.add(new AcceptMemory(at, next, order));
      at = next;
    }
    return tasks;
  }

  /** Ranges that become shared, are written to, and become private and accepted again. */
  private static List<GuestTask> conversions(Random random, long start) {
    List<GuestTask> tasks = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      long from = start + 4096L * random.nextInt((int) (PART >>> 12) - 700);
      long to = from + 4096L * (1 + random.nextInt(700));
      long shared = KvmTdx.SHARED_BIT;
      tasks.add(ConvertMemory.toShared(from, to));
      tasks.add(new TouchMemory(from | shared, to | shared, AccessKind.WRITE));
      tasks.add(ConvertMemory.toPrivate(from, to));
      tasks.add(new AcceptMemory(from, to, Order.ACCEPT_FIRST));
    }
    return tasks;
  }
}
