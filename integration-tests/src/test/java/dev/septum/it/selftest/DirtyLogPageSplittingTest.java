package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.it.selftest.SelftestVm.Pages;
import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.DirtyTracking;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.SplitCause;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * {@code x86/dirty_log_page_splitting_test} at its own size: what dirty logging splits, and that it
 * all comes back.
 *
 * <p>Only the check that {@code tdp_mmu} is on is left out: there is no other MMU here.
 */
final class DirtyLogPageSplittingTest {

  private static final int VCPUS = 2;
  private static final int SLOTS = 2;
  private static final int ITERATIONS = 2;

  /** Each vCPU's default of 1 GiB; as memory is not partitioned, every vCPU writes all of it. */
  private static final long BYTES = VCPUS * SelftestVm.GIB;

  private static final long HOST_PAGES = 524288;

  /** The one page of the guest's program, in slot 0. */
  private static final long CODE_PAGES = 1;

  private static final int MANUAL =
      DirtyTracking.MANUAL_PROTECT_ENABLE | DirtyTracking.INITIALLY_SET;

  @RegisterExtension final SelftestHost host = new SelftestHost();

  private final List<MemoryRegion> regions = new ArrayList<>();

  @ParameterizedTest
  @CsvSource({
    "LINUX_6_12, LEVEL_2M, 0",
    "LINUX_6_12, LEVEL_2M, 3",
    "LINUX_6_12, LEVEL_1G, 0",
    "LINUX_7_1, LEVEL_2M, 0",
    "LINUX_7_1, LEVEL_2M, 3",
    "LINUX_7_1, LEVEL_1G, 3"
  })
  void everyPageIsSplitWhileLogged_andHugeAgainAfterwards(
      KernelGeneration generation, PageLevel backing, int caps, TestReporter reporter) {
    long begin = System.nanoTime();
    long gpa = SelftestVm.END_OF_GUEST_MEMORY - BYTES;
    SelftestVm vm = host.newVm(generation);
    for (int i = 0; i < SLOTS; i++) {
      regions.add(vm.addSlot(1 + i, gpa + i * BYTES / SLOTS, BYTES / SLOTS, backing));
    }
    vm.withCode();
    assertThat(vm.mmu().dirtyTracking().enableManualProtect(caps)).isEqualTo(Errno.OK);
    for (int i = 0; i < VCPUS; i++) {
      vm.addVcpu();
    }

    Pages populated = runIteration(vm, gpa);
    assertThat(populated.large() * 512 + populated.giant() * 262144).isEqualTo(HOST_PAGES);
    assertThat(populated).isEqualTo(hugePages(backing));

    regions.forEach(region -> vm.set(region.withFlags(MemoryRegion.LOG_DIRTY_PAGES)));
    assertThat(vm.stats()).isEqualTo(caps == MANUAL ? populated : smallPages());

    for (int i = 0; i < ITERATIONS; i++) {
      Pages dirtyPass = runIteration(vm, gpa);
      assertThat(dirtyPass).isEqualTo(caps == MANUAL && i == 0 ? populated : smallPages());
      regions.forEach(region -> harvest(vm, region, caps));
      assertThat(vm.stats()).isEqualTo(smallPages());
    }

    regions.forEach(vm::set);
    boolean inPlace = generation == KernelGeneration.LINUX_7_1;
    assertThat(vm.stats()).isEqualTo(inPlace ? populated : new Pages(CODE_PAGES, 0, 0));

    assertThat(runIteration(vm, gpa)).isEqualTo(populated);
    assertThat(vm.mmu().splits().toMap())
        .isEqualTo(onlySplits(backing == PageLevel.LEVEL_2M ? 1024 : 2 + 1024));
    reporter.publishEntry("milliseconds", "" + (System.nanoTime() - begin) / 1_000_000);
  }

  /** Every vCPU fetches its program and writes each page once. */
  private static Pages runIteration(SelftestVm vm, long gpa) {
    vm.runAll(vcpu -> writeAll(vcpu, gpa));
    return vm.stats();
  }

  private static void writeAll(SelftestVcpu vcpu, long gpa) {
    vcpu.must(AccessKind.EXEC, SelftestVm.CODE);
    for (long page = 0; page < HOST_PAGES; page++) {
      vcpu.must(AccessKind.WRITE, gpa + (page << 12));
    }
    vcpu.cpu().portExit();
  }

  /** Every page of the slot was written, so every bit is set; clears them if GET did not. */
  private static void harvest(SelftestVm vm, MemoryRegion region, int caps) {
    ImmutableLongArray all =
        ImmutableLongArray.copyOf(LongStream.generate(() -> -1L).limit(region.pages() / 64));
    DirtyTracking tracking = vm.mmu().dirtyTracking();
    assertThat(tracking.getDirtyLog(region.slot()))
        .isEqualTo(new DirtyTracking.DirtyLog(Errno.OK, all));
    if (caps == MANUAL) {
      assertThat(tracking.clearDirtyLog(region.slot(), 0, region.pages(), all)).isEqualTo(Errno.OK);
    }
  }

  private static Pages hugePages(PageLevel backing) {
    return backing == PageLevel.LEVEL_2M
        ? new Pages(CODE_PAGES, 1024, 0)
        : new Pages(CODE_PAGES, 0, 2);
  }

  private static Pages smallPages() {
    return new Pages(HOST_PAGES + CODE_PAGES, 0, 0);
  }

  private static Map<String, Long> onlySplits(long forDirtyLog) {
    Map<String, Long> splits = new LinkedHashMap<>();
    for (SplitCause cause : SplitCause.values()) {
      splits.put(cause.toString(), cause == SplitCause.DIRTY_LOG ? forDirtyLog : 0);
    }
    return splits;
  }
}
