package dev.septum.it.selftest;

import static com.google.common.util.concurrent.Uninterruptibles.awaitUninterruptibly;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.PreFault;
import dev.septum.mmu.VcpuMmu;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.stream.LongStream;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * {@code pre_fault_memory_test}: memory is mapped ahead of the guest, while its slot is deleted and
 * created again.
 *
 * <p>There are no signals, hence no EINTR; flags cannot be passed, hence no EINVAL for them.
 */
final class PreFaultMemoryTest {

  private static final int SLOT = 10;
  private static final long PAGES = 513;
  private static final long BYTES = PAGES << 12;
  private static final long LARGE = 2 * SelftestVm.MIB;
  private static final long GPA = SelftestVm.END_OF_GUEST_MEMORY - 2 * LARGE;

  /** How often the slot goes and comes during one request. */
  private static final int RECREATIONS = 16;

  /** What the program runs on. */
  private enum Kind {
    ORDINARY_6_12(VmType.DEFAULT, KernelGeneration.LINUX_6_12),
    ORDINARY_7_1(VmType.DEFAULT, KernelGeneration.LINUX_7_1),
    SHARED(VmType.SW_PROTECTED, KernelGeneration.LINUX_7_1),
    PRIVATE(VmType.SW_PROTECTED, KernelGeneration.LINUX_7_1);

    final VmType type;
    final KernelGeneration generation;

    Kind(VmType type, KernelGeneration generation) {
      this.type = type;
      this.generation = generation;
    }
  }

  /**
   * A request, and how it ends.
   *
   * @param offset bytes into the slot
   * @param bytesLeft what cannot be mapped
   * @param error what the last call returns
   */
  private record Request(long offset, long bytes, long bytesLeft, Errno error) {
    PreFault end() {
      return new PreFault(error, bytesLeft);
    }
  }

  private static final List<Request> REQUESTS =
      List.of(
          new Request(0, LARGE, 0, Errno.OK),
          new Request(LARGE, 2 * 4096, 4096, Errno.ENOENT),
          new Request(LARGE + 4096, 4096, 4096, Errno.ENOENT));

  @RegisterExtension final SelftestHost host = new SelftestHost();

  private volatile boolean slotStays;

  @ParameterizedTest
  @EnumSource
  void memoryIsMappedUpToTheSlotsEnd_whateverHappensToTheSlotMeanwhile(Kind kind) {
    SelftestVm vm = host.newVm(kind.generation, kind.type);
    MemoryRegion region = addSlot(vm, kind);
    VcpuMmu vcpu = vm.withCode().addVcpu().mmu();

    for (Request request : REQUESTS) {
      slotStays = false;
      CountDownLatch running = new CountDownLatch(1);
      KernelThread recreator =
          host.kernel().spawn("recreator", () -> recreate(vm, region, running));
      awaitUninterruptibly(running);
      PreFault raced = preFault(vcpu, request, passing(kind));
      recreator.join();
      assertThat(raced).isEqualTo(request.end());
    }
    for (Request request : REQUESTS) {
      assertThat(preFault(vcpu, request, Set.of())).isEqualTo(request.end());
    }
    assertThat(vm.leafs(GPA, BYTES + 4096)).map(MappedLeaf::pfn).isEqualTo(pfns(vm, kind, region));
    for (long page = 0; page < PAGES; page++) {
      vm.vcpu(0).must(AccessKind.READ, GPA + (page << 12));
    }
    assertThat(vm.leafs(GPA, BYTES + 4096)).hasSize((int) PAGES);
  }

  private static MemoryRegion addSlot(SelftestVm vm, Kind kind) {
    if (kind != Kind.PRIVATE) {
      return vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_4K);
    }
    MemoryRegion region = vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_4K, vm.createFile(BYTES));
    vm.makePrivate(GPA, BYTES);
    return region;
  }

  private static List<Long> pfns(SelftestVm vm, Kind kind, MemoryRegion region) {
    return LongStream.range(0, PAGES)
        .map(
            page ->
                kind == Kind.PRIVATE
                    ? requireNonNull(region.gmem()).pfnAt(page)
                    : vm.user().pfn(region.hva() + (page << 12)))
        .boxed()
        .toList();
  }

  private void recreate(SelftestVm vm, MemoryRegion region, CountDownLatch running) {
    for (int i = 0; i < RECREATIONS; i++) {
      vm.set(MemoryRegion.delete(SLOT));
      running.countDown();
      vm.set(region);
    }
    slotStays = true;
  }

  /**
   * What a request may meet while the slot is on its way out, or gone: a private page without a
   * slot is a memory fault, else there is just no memory.
   */
  private static Set<Errno> passing(Kind kind) {
    return kind == Kind.PRIVATE
        ? Set.of(Errno.EAGAIN, Errno.ENOENT, Errno.EFAULT)
        : Set.of(Errno.EAGAIN, Errno.ENOENT);
  }

  /** Calls until all is mapped, or until a call fails that no change of the slot can excuse. */
  private PreFault preFault(VcpuMmu vcpu, Request request, Set<Errno> passing) {
    long left = request.bytes;
    while (true) {
      boolean excused = !slotStays;
      long gpa = GPA + request.offset + request.bytes - left;
      PreFault done = vcpu.preFault(gpa, left);
      assertThat(done.bytesLeft() < left).isNotEqualTo(done.error().isError());
      left = done.bytesLeft();
      if (left == 0 || (done.error().isError() && !excused)) {
        return done;
      }
      if (done.error().isError()) {
        assertThat(passing).as("errors while the slot changes").contains(done.error());
      }
    }
  }
}
