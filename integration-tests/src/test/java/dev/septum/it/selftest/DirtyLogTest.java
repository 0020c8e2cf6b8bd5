package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.DirtyRing;
import dev.septum.mmu.DirtyTracking;
import dev.septum.mmu.DirtyTracking.DirtyLog;
import dev.septum.mmu.GuestCpu.Result;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MemoryRegion;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * {@code dirty_log_test}: a vCPU writes random pages while user space asks which ones, by the dirty
 * bitmap with and without manual clearing, and by a dirty ring.
 *
 * <p>Pages have no contents here: instead of the iteration that a page holds, the order of writes
 * and harvests tells what must be reported. An iteration is a number of writes, not 10 ms.
 */
final class DirtyLogTest {

  private static final int SLOT = 1;
  private static final int PAGES = (1 << 18) + 3;
  private static final long BYTES = (long) PAGES << 12;

  /** The memory ends at the last page of guest memory, and begins at a large page. */
  private static final long GPA = (SelftestVm.END_OF_GUEST_MEMORY - BYTES) & -(2 * SelftestVm.MIB);

  private static final int ITERATIONS = 32;
  private static final int WRITES_PER_ITERATION = 256;
  private static final int MIN_WRITES = ITERATIONS * WRITES_PER_ITERATION;
  private static final int MAX_WRITES = 200_000;

  /** 1024 entries, so that the ring is full now and then. */
  private static final long RING_BYTES = 16384;

  /** How user space learns of dirty pages. */
  private enum Mode {
    DIRTY_LOG,
    CLEAR_LOG,
    INITIALLY_SET,
    DIRTY_RING
  }

  @RegisterExtension final SelftestHost host = new SelftestHost();

  @ParameterizedTest
  @CsvSource({
    "DIRTY_LOG, LINUX_6_12, 1",
    "DIRTY_LOG, LINUX_7_1, 2",
    "CLEAR_LOG, LINUX_7_1, 3",
    "INITIALLY_SET, LINUX_7_1, 4",
    "DIRTY_RING, LINUX_6_12, 5",
    "DIRTY_RING, LINUX_7_1, 6"
  })
  void aPageIsReported_ifItWasWrittenSinceTheLastHarvest_andOnlyThen(
      Mode mode, KernelGeneration generation, long seed, TestReporter reporter) {
    reporter.publishEntry("seed", Long.toString(seed));
    SelftestVm vm = host.newVm(generation);
    configure(vm.mmu().dirtyTracking(), mode);
    MemoryRegion region =
        MemoryRegion.shared(SLOT, GPA >>> 12, PAGES, vm.user().map(GPA, BYTES, PageLevel.LEVEL_2M))
            .withFlags(MemoryRegion.LOG_DIRTY_PAGES);
    vm.set(region);
    SelftestVcpu vcpu = vm.withCode().addVcpu();
    WriteLog log = new WriteLog(seed, PAGES, MAX_WRITES);
    if (mode == Mode.INITIALLY_SET) {
      assertThat(harvest(vm, mode).cardinality()).isEqualTo(PAGES);
    }

    GuestThread writer = new GuestThread(host.kernel(), "writer", () -> write(vcpu, log));
    for (int i = 0; i < ITERATIONS || (log.count() < MIN_WRITES && !writer.isOver()); i++) {
      int target = log.count() + WRITES_PER_ITERATION;
      writer.await(() -> log.count() >= target || isRingFull(vcpu));
      checkHarvest(vm, mode, log);
    }
    writer.stop();
    checkHarvest(vm, mode, log);

    assertThat(harvest(vm, mode)).as("a harvest without a write").isEqualTo(new BitSet());
    assertThat(vm.leafs(GPA, BYTES))
        .isNotEmpty()
        .allMatch(leaf -> leaf.level() == PageLevel.LEVEL_4K)
        .noneMatch(leaf -> vm.mmu().format().isWritable(leaf.spte()));
  }

  private static void configure(DirtyTracking tracking, Mode mode) {
    int enable = DirtyTracking.MANUAL_PROTECT_ENABLE;
    assertThat(
            switch (mode) {
              case DIRTY_LOG -> tracking.enableManualProtect(0);
              case CLEAR_LOG -> tracking.enableManualProtect(enable);
              case INITIALLY_SET ->
                  tracking.enableManualProtect(enable | DirtyTracking.INITIALLY_SET);
              case DIRTY_RING -> tracking.enableRing(RING_BYTES);
            })
        .isEqualTo(Errno.OK);
  }

  /** Tries a write; a full ring puts it off until the ring was emptied. */
  private static boolean write(SelftestVcpu vcpu, WriteLog log) {
    long gpa = GPA + ((long) log.begin() << 12);
    Result result = vcpu.access(AccessKind.WRITE, gpa).result();
    if (result == Result.DIRTY_RING_FULL) {
      vcpu.mmu().vcpu().kvm().kernel().condResched();
      return true;
    }
    assertThat(result).isEqualTo(Result.DONE);
    log.end();
    return !log.isFull();
  }

  private static boolean isRingFull(SelftestVcpu vcpu) {
    DirtyRing ring = vcpu.mmu().dirtyRing();
    return ring != null && ring.isSoftFull();
  }

  private static void checkHarvest(SelftestVm vm, Mode mode, WriteLog log) {
    BitSet reported = new BitSet();
    WriteLog.Expected expected = log.during(() -> reported.or(harvest(vm, mode)));
    assertThat(without(expected.must(), reported)).as("written, not reported").isEmpty();
    assertThat(without(reported, expected.may())).as("reported, not written").isEmpty();
  }

  private static List<Integer> without(BitSet some, BitSet others) {
    BitSet rest = (BitSet) some.clone();
    rest.andNot(others);
    return rest.stream().boxed().toList();
  }

  /** What user space learns now; those pages are watched again. */
  private static BitSet harvest(SelftestVm vm, Mode mode) {
    DirtyTracking tracking = vm.mmu().dirtyTracking();
    if (mode == Mode.DIRTY_RING) {
      return harvestRing(vm, tracking);
    }
    DirtyLog log = tracking.getDirtyLog(SLOT);
    assertThat(log.error()).isEqualTo(Errno.OK);
    ImmutableLongArray words = log.words();
    if (mode != Mode.DIRTY_LOG) {
      assertThat(tracking.clearDirtyLog(SLOT, 0, PAGES, words)).isEqualTo(Errno.OK);
    }
    return BitSet.valueOf(words.toArray());
  }

  private static BitSet harvestRing(SelftestVm vm, DirtyTracking tracking) {
    BitSet pages = new BitSet();
    List<DirtyRing.Entry> entries = Objects.requireNonNull(vm.vcpu(0).mmu().dirtyRing()).collect();
    for (DirtyRing.Entry entry : entries) {
      assertThat(entry.slot()).isEqualTo(SLOT);
      pages.set(Math.toIntExact(entry.offset()));
    }
    assertThat(tracking.resetRings()).isEqualTo(entries.size());
    return pages;
  }
}
