package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kernel.KernelThread;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** vCPUs on real threads, and what the VMM and its host do meanwhile. */
class DirtyLoggingRaceTest {

  private static final long GFN = 0x40000;
  private static final int PAGES = 0x800;
  private static final int LOG = MemoryRegion.LOG_DIRTY_PAGES;
  private static final long DURATION_MS = 300;

  private TestVm vm = TestVm.ordinary();
  private final AtomicBoolean stop = new AtomicBoolean();
  private final List<KernelThread> threads = new ArrayList<>();
  private final List<VcpuMmu> vcpus = new ArrayList<>();

  @AfterEach
  void vmIsSound() {
    vm.assertSoundAndDestroy();
  }

  /** A slot of four 2M pages, and two vCPUs. */
  private void use(KernelGeneration generation, SpteFormat format) {
    vm.assertSoundAndDestroy();
    vm = TestVm.of(generation, format);
    vm.memory.setLevel(PageLevel.LEVEL_2M);
    vm.addShared(GFN, PAGES);
    vcpus.add(vm.vcpu);
    vcpus.add(vm.newVcpu());
  }

  /** The vCPUs touch the pages until they are told to stop. */
  private void start() {
    for (VcpuMmu vcpu : vcpus) {
      threads.add(vm.kernel().spawn("vcpu " + vcpu.vcpu().id(), () -> touchUntilStopped(vcpu)));
    }
  }

  private void touchUntilStopped(VcpuMmu vcpu) {
    GuestCpu cpu = new GuestCpu(vcpu);
    Random random = new Random(vcpu.vcpu().id());
    AccessKind[] kinds = AccessKind.values();
    while (!stop.get()) {
      long gpa = (GFN + random.nextInt(PAGES)) << 12;
      GuestCpu.Result result = cpu.access(kinds[random.nextInt(kinds.length)], gpa, 0).result();
      assertThat(result).isEqualTo(GuestCpu.Result.DONE);
    }
  }

  private void repeat(Runnable body) {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(DURATION_MS);
    while (System.nanoTime() < end) {
      body.run();
      vm.events.clear();
    }
  }

  private void stop() {
    stop.set(true);
    threads.forEach(KernelThread::join);
    vm.events.clear();
  }

  /** Everything that is writable in a slot that logs must be marked: nothing can go unrecorded. */
  private void assertWritablePagesAreDirty() {
    List<Long> dirty = vm.dirty();
    List<Long> writable =
        vm.view.directLeafs().stream()
            .filter(leaf -> vm.mmu.format().isWritable(leaf.spte()))
            .map(leaf -> leaf.gfn() - GFN)
            .toList();
    assertThat(vm.leafCounts().subList(1, 3)).containsExactly(0L, 0L);
    assertThat(dirty).containsAll(writable);
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void loggingToggled_whileVcpusTouch(KernelGeneration generation) {
    use(generation, SpteFormat.npt());
    start();

    repeat(
        () -> {
          vm.setFlags(LOG);
          vm.setFlags(0);
        });
    vm.setFlags(LOG);
    stop();

    assertWritablePagesAreDirty();
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void logReadAndCleared_whileVcpusTouch_losesNoWritablePage(KernelGeneration generation) {
    use(generation, SpteFormat.ept());
    vm.setFlags(LOG);
    start();
    BitSet seen = new BitSet();

    repeat(
        () -> {
          DirtyTracking.DirtyLog log = vm.mmu.dirtyTracking().getDirtyLog(0);
          assertThat(log.error()).isEqualTo(Errno.OK);
          seen.or(BitSet.valueOf(log.words().toArray()));
        });
    stop();

    assertWritablePagesAreDirty();
    assertThat(seen.cardinality()).isPositive();
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void clearSplitsUnderTheWriteLock_whileVcpusTouch(KernelGeneration generation) {
    use(generation, SpteFormat.ept());
    assertThat(vm.mmu.dirtyTracking().enableManualProtect(3)).isEqualTo(Errno.OK);
    start();
    long[] words = new long[PAGES / 64];
    Arrays.fill(words, -1);
    ImmutableLongArray all = ImmutableLongArray.copyOf(words);

    repeat(
        () -> {
          vm.setFlags(LOG);
          assertThat(vm.mmu.dirtyTracking().clearDirtyLog(0, 0, PAGES, all)).isEqualTo(Errno.OK);
          vm.setFlags(0);
        });
    vm.setFlags(LOG);
    vm.mmu.dirtyTracking().clearDirtyLog(0, 0, PAGES, all);
    stop();

    assertWritablePagesAreDirty();
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void pagesAgedAndUnmapped_whileVcpusTouch(KernelGeneration generation) {
    use(generation, SpteFormat.ept());
    start();
    MmuNotifier notifier = vm.mmu.notifier();
    Random random = new Random(1);

    repeat(
        () -> {
          long hva = (GFN + random.nextInt(PAGES)) << 12;
          notifier.clearYoung(GFN << 12, (GFN + PAGES) << 12);
          notifier.testYoung(hva);
          notifier.invalidateRange(hva, hva + 0x3000);
        });
    stop();

    assertThat(vm.mmu.invalidate().isInProgress()).isFalse();
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void trackedPagesAged_whileVcpusTouch_onACpuWithoutAdBits(KernelGeneration generation) {
    use(generation, SpteFormat.eptWithoutAccessDirty());
    start();
    vm.setFlags(LOG);

    repeat(() -> vm.mmu.notifier().clearYoung(GFN << 12, (GFN + PAGES) << 12));
    stop();

    assertWritablePagesAreDirty();
  }

  @ParameterizedTest
  @EnumSource(KernelGeneration.class)
  void nxPagesRecovered_whileVcpusExecute(KernelGeneration generation) {
    use(generation, SpteFormat.ept());
    start();
    vm.setParameter("nx_huge_pages_recovery_ratio", "1");
    vm.setParameter("nx_huge_pages", "force");

    repeat(vm.mmu.module()::recoverNxHugePages);
    stop();

    vm.mmu.module().recoverNxHugePages();
    assertThat(vm.stats().get(VmStat.NX_LPAGE_SPLITS)).isZero();
  }
}
