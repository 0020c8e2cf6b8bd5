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
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * {@code dirty_log_perf_test -e}: dirty logging ends while the vCPUs run on.
 *
 * <p>Memory is 64 MiB instead of 1 GiB and in hugetlb pages, so that recovery meets faults in every
 * large page; times are not measured. Without {@code -e} nothing happens that the test of page
 * splitting does not do; slots that are many, overlap or are written at random are left out.
 */
final class DirtyLogPerfTest {

  private static final int VCPUS = 2;
  private static final int ITERATIONS = 2;
  private static final int SLOT = 1;
  private static final long BYTES = 64 * SelftestVm.MIB;
  private static final long GPA = SelftestVm.END_OF_GUEST_MEMORY - BYTES;
  private static final long PAGES = BYTES >>> 12;
  private static final long LARGE_PAGES = PAGES / 512;

  @RegisterExtension final SelftestHost host = new SelftestHost();

  @ParameterizedTest
  @EnumSource
  void hugePagesComeBack_underVcpusThatWrite(KernelGeneration generation) {
    SelftestVm vm = host.newVm(generation);
    MemoryRegion region = vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_2M);
    assertThat(vm.mmu().dirtyTracking().enableManualProtect(3)).isEqualTo(Errno.OK);
    vm.withCode();
    for (int i = 0; i < VCPUS; i++) {
      vm.addVcpu();
    }
    vm.runAll(DirtyLogPerfTest::writePart);
    assertThat(vm.stats()).isEqualTo(new Pages(0, LARGE_PAGES, 0));
    vm.set(region.withFlags(MemoryRegion.LOG_DIRTY_PAGES));

    GuestThread[] threads = new GuestThread[VCPUS];
    for (int i = 0; i < VCPUS; i++) {
      SelftestVcpu vcpu = vm.vcpu(i);
      threads[i] = new GuestThread(host.kernel(), "vCPU " + i, () -> writePart(vcpu));
    }
    for (int i = 0; i < ITERATIONS; i++) {
      awaitRound(threads);
      harvest(vm.mmu().dirtyTracking());
    }
    assertThat(vm.stats()).isEqualTo(new Pages(PAGES, 0, 0));

    vm.set(region);
    awaitRound(threads);
    for (GuestThread thread : threads) {
      thread.stop();
    }

    assertThat(vm.stats()).isEqualTo(new Pages(0, LARGE_PAGES, 0));
    assertThat(vm.leafs(GPA, BYTES)).allMatch(leaf -> vm.mmu().format().isWritable(leaf.spte()));
  }

  /** Each vCPU writes a part of its own. */
  private static boolean writePart(SelftestVcpu vcpu) {
    long bytes = BYTES / VCPUS;
    long own = GPA + vcpu.mmu().vcpu().id() * bytes;
    for (long at = own; at < own + bytes; at += 4096) {
      vcpu.must(AccessKind.WRITE, at);
    }
    return true;
  }

  private static void awaitRound(GuestThread[] threads) {
    for (GuestThread thread : threads) {
      thread.awaitRound();
    }
  }

  private static void harvest(DirtyTracking tracking) {
    ImmutableLongArray dirty = tracking.getDirtyLog(SLOT).words();
    assertThat(dirty.asList()).hasSize((int) (PAGES / 64)).containsOnly(-1L);
    assertThat(tracking.clearDirtyLog(SLOT, 0, PAGES, dirty)).isEqualTo(Errno.OK);
  }
}
