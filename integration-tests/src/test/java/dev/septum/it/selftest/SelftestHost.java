package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.TraceSink;
import dev.septum.kvm.VmType;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmModule;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A host with ordinary VMs. After every test the invariants of each VM are checked and every page
 * is accounted for; then the VMs are destroyed, and all that they had must be back.
 */
final class SelftestHost implements AfterEachCallback {

  private static final long MEMORY_BYTES = 4 * SelftestVm.GIB;

  private final Kernel kernel;
  private final PageAllocator pages;
  private final Host host;
  private final Map<KernelGeneration, KvmModule> modules = new HashMap<>();
  private final List<SelftestVm> vms = new ArrayList<>();

  SelftestHost() {
    this(Kernel.host());
  }

  SelftestHost(Kernel kernel) {
    this.kernel = kernel;
    this.pages = new PageAllocator(kernel, MEMORY_BYTES, Placement.SEQUENTIAL, 0);
    this.host = new Host(kernel, pages, TraceSink.OFF);
  }

  /** The kvm module of that generation. */
  KvmModule module(KernelGeneration generation) {
    return modules.computeIfAbsent(generation, g -> new KvmModule(kernel, g));
  }

  /** Writes a parameter of the module, which must take the value. */
  void setParameter(KernelGeneration generation, String name, String value) {
    assertThat(module(generation).setParameter(name, value))
        .as("%s=%s", name, value)
        .isEqualTo(Errno.OK);
  }

  SelftestVm newVm(KernelGeneration generation, VmType type) {
    SelftestVm vm = new SelftestVm(vms.size() + 1, host, module(generation), type);
    vms.add(vm);
    return vm;
  }

  SelftestVm newVm(KernelGeneration generation) {
    return newVm(generation, VmType.DEFAULT);
  }

  Kernel kernel() {
    return kernel;
  }

  PageAllocator pages() {
    return pages;
  }

  /** Fails with every invariant that does not hold. Nothing may run meanwhile. */
  void checkInvariants() {
    kernel.locks().assertNoneHeld("a check of the invariants");
    kernel.rcu().barrier();
    List<String> violations = new ArrayList<>();
    long tables = 0;
    long reserved = 0;
    long inFiles = 0;
    for (SelftestVm vm : vms) {
      violations.addAll(vm.view().violations());
      if (vm.kvm().isBugged()) {
        violations.add("VM %d is bugged: %s".formatted(vm.kvm().id(), vm.kvm().splat()));
      }
      tables += vm.view().tables() + vm.view().cachedTables();
      reserved += vm.user().frames();
      inFiles += vm.fileFrames();
    }
    assertThat(violations).as("violated invariants").isEmpty();
    long free = pages.totalPages() - tables - reserved - inFiles;
    assertThat(owned())
        .isEqualTo(
            withoutZeros(
                Map.of(
                    PageOwner.MMU_PAGE_TABLE, tables,
                    PageOwner.USER_MEMORY, reserved,
                    PageOwner.GUEST_MEMORY, inFiles,
                    PageOwner.FREE, free)));
  }

  private Map<PageOwner, Long> owned() {
    assertThat(pages.recount()).isEqualTo(pages.census());
    return withoutZeros(pages.census());
  }

  private static Map<PageOwner, Long> withoutZeros(Map<PageOwner, Long> census) {
    Map<PageOwner, Long> owned = new HashMap<>(census);
    owned.values().removeIf(count -> count == 0);
    return owned;
  }

  @Override
  public void afterEach(ExtensionContext context) {
    checkInvariants();
    vms.forEach(SelftestVm::destroy);
    vms.clear();
    assertNothingIsLeft();
  }

  void assertNothingIsLeft() {
    kernel.locks().assertNoneHeld("the end of a selftest");
    assertThat(owned()).isEqualTo(Map.of(PageOwner.FREE, pages.totalPages()));
    assertThat(pages.objects()).isEmpty();
  }
}
