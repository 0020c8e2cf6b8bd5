package dev.septum.bench;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.Exploration;
import dev.septum.kernel.schedule.ExplorationResult;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;

/**
 * A TD with a private 4K page that a vCPU faults in ({@code KVM_PRE_FAULT_MEMORY}: no guest, no
 * exit) and user space takes away, again and again.
 */
final class FaultLoop implements AutoCloseable {

  private static final long MIB = 1L << 20;
  private static final long GFN = 0x200;

  /** Taking the TD down takes many. */
  private static final int MOST_STEPS = 1_000_000;

  private final Vmm vmm;

  FaultLoop(Kernel kernel) {
    Host host =
        new Host(
            kernel, new PageAllocator(kernel, 1L << 30, Placement.SEQUENTIAL, 1), TraceSink.OFF);
    TdLayout.Region firmware = new TdLayout.Region(0, 4096);
    TdLayout.Region memory = new TdLayout.Region(2 * MIB, 4 * MIB);
    vmm =
        new Vmm(
            new TdxHost(host, TdxModuleConfig.defaults()),
            new TdLayout(
                ImmutableList.of(memory, firmware),
                firmware,
                1,
                KvmTdx.MAP_GPA_MAX_LEN,
                true,
                PageLevel.LEVEL_4K));
  }

  void faultAndZap() {
    Errno error = vmm.vcpus().get(0).preFault(GFN << 12, 4096).error();
    require(error == Errno.OK, "the fault failed");
    require(vmm.files().get(0).punchHole(0, 1) == Errno.OK, "no hole");
  }

  private static void require(boolean condition, String otherwise) {
    if (!condition) {
      throw new IllegalStateException(otherwise);
    }
  }

  /** Scheduling points of one fault and its zap: calls that the scheduled runtime hooks. */
  static int points() {
    int[] points = new int[1];
    ExplorationResult result =
        Exploration.of(kernel -> points[0] = count(kernel))
            .mostSteps(MOST_STEPS)
            .mostSchedules(1)
            .preemptionBounded(0);
    require(result.isSound(), result.toString());
    return points[0];
  }

  /** Steps are counted only while there is another thread: one that waits until the end. */
  private static int count(ScheduledKernel kernel) {
    try (FaultLoop loop = new FaultLoop(kernel)) {
      loop.faultAndZap();
      KernelThread idle = kernel.spawn("idle", () -> {});
      int before = kernel.steps();
      loop.faultAndZap();
      int points = kernel.steps() - before;
      idle.join();
      return points;
    }
  }

  @Override
  public void close() {
    vmm.close();
  }
}
