package dev.septum.mmu.vmm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.kvm.VmStat;
import dev.septum.kvm.VmType;
import dev.septum.kvm.reference.NoneBackend;
import dev.septum.kvm.reference.ReferenceBackend;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmModule;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class BackendVmTest {

  private static final long MIB = 1L << 20;

  private final Kernel kernel = Kernel.host();
  private final PageAllocator pages = new PageAllocator(kernel, 64 * MIB, Placement.SEQUENTIAL, 0);
  private final Host host = new Host(kernel, pages, TraceSink.OFF);
  private final KvmModule module = new KvmModule(kernel, KernelGeneration.LINUX_7_1);

  private BackendVm newVm(KvmBackend backend, VmType type) {
    BackendVm vm = new BackendVm(backend, backend.hardwareSetup(host), host, module, 1, type, 2);
    assertThat(vm.addMemory(0, 1024, PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
    return vm;
  }

  private void assertSoundAndClose(BackendVm vm) {
    assertThat(BackendInvariants.violations(pages, BackendInvariants.Contents.of(List.of(vm))))
        .isEmpty();
    vm.close();
    assertThat(pages.taken()).isEmpty();
    assertThat(pages.objects()).isEmpty();
  }

  private static Map<PageLevel, Long> externalLeafs(BackendVm vm) {
    return vm.externalTable().leafs().stream()
        .collect(Collectors.groupingBy(leaf -> leaf.level(), Collectors.counting()));
  }

  @Test
  void guestOnTheReference_acceptsAt2M_andConvertsWhatSplitsALeaf() {
    BackendVm vm = newVm(new ReferenceBackend(), VmType.TDX);
    assertThat(vm.accept(0, 0, 4 * MIB, PageLevel.LEVEL_2M).result())
        .isEqualTo(GuestCpu.Result.DONE);
    assertThat(externalLeafs(vm)).isEqualTo(Map.of(PageLevel.LEVEL_2M, 2L));
    assertThat(vm.convert(GfnRange.ofPages(256, 256), false)).isEqualTo(Errno.OK);
    assertThat(externalLeafs(vm))
        .isEqualTo(Map.of(PageLevel.LEVEL_4K, 256L, PageLevel.LEVEL_2M, 1L));
    assertThat(vm.access(1, AccessKind.WRITE, BackendVm.SHARED_BIT | MIB, 0).result())
        .isEqualTo(GuestCpu.Result.DONE);
    assertThat(vm.kvm().stats().get(VmStat.PAGES_4K)).isEqualTo(257);
    assertSoundAndClose(vm);
  }

  @Test
  void acceptAt4K_splitsTheLeafThatIsThere() {
    BackendVm vm = newVm(new ReferenceBackend(), VmType.TDX);
    assertThat(vm.access(0, AccessKind.WRITE, 0, 0).result()).isEqualTo(GuestCpu.Result.DONE);
    assertThat(externalLeafs(vm)).isEqualTo(Map.of(PageLevel.LEVEL_2M, 1L));
    assertThat(vm.accept(1, 4096, 8192, PageLevel.LEVEL_2M).result())
        .isEqualTo(GuestCpu.Result.DONE);
    assertThat(externalLeafs(vm)).isEqualTo(Map.of(PageLevel.LEVEL_4K, 512L));
    assertSoundAndClose(vm);
  }

  @Test
  void ordinaryVm_runsOnNone_andAMirrorDoesNot() {
    BackendVm vm = newVm(new NoneBackend(), VmType.DEFAULT);
    assertThat(vm.access(0, AccessKind.WRITE, 4096, 0).result()).isEqualTo(GuestCpu.Result.DONE);
    assertSoundAndClose(vm);
    assertThatIllegalArgumentException()
        .isThrownBy(() -> newVm(new NoneBackend(), VmType.TDX))
        .withMessage("backend none has no external page table");
  }
}
