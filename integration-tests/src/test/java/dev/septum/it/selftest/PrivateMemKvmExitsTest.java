package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.FaultOutcome.MemoryFault;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MemoryRegion;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/**
 * {@code x86/private_mem_kvm_exits_test}: the exit to user space for private memory that is not
 * there.
 *
 * <p>{@code KVM_MEMORY_EXIT_FLAG_PRIVATE} is {@link MemoryFault#isPrivate} here, and the only flag.
 */
final class PrivateMemKvmExitsTest {

  private static final int SLOT = 10;
  private static final long GPA = 0xc000_0000L;
  private static final long BYTES = 4096;

  private static final GuestCpu.Access EXIT =
      new GuestCpu.Access(
          GuestCpu.Result.ERROR, Errno.EFAULT, new MemoryFault(0xc000_0000L, 4096, true));

  @RegisterExtension final SelftestHost host = new SelftestHost();

  private final SelftestVm vm = host.newVm(KernelGeneration.LINUX_7_1, VmType.SW_PROTECTED);

  @RepeatedTest(10)
  void slotDeletedUnderTheReader_exitsWithAPrivateMemoryFault() {
    vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_4K, vm.createFile(BYTES));
    vm.makePrivate(GPA, BYTES);
    SelftestVcpu vcpu = vm.withCode().addVcpu();
    List<GuestCpu.Access> last = new ArrayList<>();
    GuestThread reader =
        new GuestThread(
            host.kernel(),
            "reader",
            () -> {
              GuestCpu.Access access = vcpu.access(AccessKind.READ, GPA);
              last.add(access);
              return access.result() == GuestCpu.Result.DONE;
            });
    reader.awaitRound();

    vm.set(MemoryRegion.delete(SLOT));
    reader.awaitRound();
    reader.stop();

    assertThat(last.get(last.size() - 1)).isEqualTo(EXIT);
    assertThat(vm.leafs(GPA, BYTES)).isEmpty();
  }

  @Test
  void privateAccessToASlotWithoutAFile_exitsWithAPrivateMemoryFault() {
    vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_4K);
    vm.makePrivate(GPA, BYTES);
    SelftestVcpu vcpu = vm.withCode().addVcpu();

    assertThat(vcpu.access(AccessKind.READ, GPA)).isEqualTo(EXIT);

    assertThat(vm.leafs(GPA, BYTES)).isEmpty();
    vm.makeShared(GPA, BYTES);
    vcpu.must(AccessKind.READ, GPA);
  }
}
