package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.selftest.SelftestVm.Pages;
import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MemoryRegion;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * {@code memslot_modification_stress_test}: a slot that nobody uses comes and goes while vCPUs
 * write their memory.
 *
 * <p>Each vCPU has 8 MiB instead of 1 GiB. Between two changes the program sleeps, which is a round
 * of every vCPU here.
 */
final class MemslotModificationStressTest {

  private static final int VCPUS = 2;
  private static final int CYCLES = 10;
  private static final int SLOT = 1;
  private static final int DUMMY_SLOT = 7;
  private static final long BYTES_PER_VCPU = 8 * SelftestVm.MIB;
  private static final long BYTES = VCPUS * BYTES_PER_VCPU;
  private static final long GPA = SelftestVm.END_OF_GUEST_MEMORY - BYTES;

  /** The dummy slot's one page ends below the memory. */
  private static final long DUMMY_GPA = GPA - 2 * 4096;

  @RegisterExtension final SelftestHost host = new SelftestHost();

  @ParameterizedTest
  @CsvSource({
    "LINUX_6_12, true", "LINUX_6_12, false",
    "LINUX_7_1, true", "LINUX_7_1, false"
  })
  void aSlotThatComesAndGoes_costsNobodyHisMemory(KernelGeneration generation, boolean zapsAll) {
    SelftestVm vm = host.newVm(generation);
    if (!zapsAll) {
      vm.memory().disableQuirkSlotZapAll();
    }
    vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_2M);
    MemoryRegion dummy = vm.addSlot(DUMMY_SLOT, DUMMY_GPA, 4096, PageLevel.LEVEL_4K);
    vm.set(MemoryRegion.delete(DUMMY_SLOT));
    vm.withCode();
    List<GuestThread> threads = new ArrayList<>();
    for (int i = 0; i < VCPUS; i++) {
      SelftestVcpu vcpu = vm.addVcpu();
      long own = GPA + i * BYTES_PER_VCPU;
      threads.add(new GuestThread(host.kernel(), "vCPU " + i, () -> writeAll(vcpu, own)));
    }

    for (int i = 0; i < CYCLES; i++) {
      threads.forEach(GuestThread::awaitRound);
      vm.set(dummy);
      threads.forEach(GuestThread::awaitRound);
      vm.set(MemoryRegion.delete(DUMMY_SLOT));
    }
    threads.forEach(GuestThread::awaitRound);
    threads.forEach(GuestThread::stop);

    assertThat(vm.stats()).isEqualTo(new Pages(1, BYTES / (2 * SelftestVm.MIB), 0));
    assertThat(vm.leafs(GPA, BYTES)).hasSize((int) (BYTES / (2 * SelftestVm.MIB)));
  }

  private static boolean writeAll(SelftestVcpu vcpu, long gpa) {
    vcpu.must(AccessKind.EXEC, SelftestVm.CODE);
    for (long at = gpa; at < gpa + BYTES_PER_VCPU; at += 4096) {
      vcpu.must(AccessKind.WRITE, at);
    }
    return true;
  }
}
