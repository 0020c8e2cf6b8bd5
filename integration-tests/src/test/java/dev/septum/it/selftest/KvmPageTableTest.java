package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.it.selftest.SelftestVm.Pages;
import dev.septum.it.selftest.SelftestVm.SelftestVcpu;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.SplitCause;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * {@code kvm_page_table_test}: page tables are created, updated while dirty pages are logged, and
 * adjusted afterwards.
 *
 * <p>{@code eager_page_split} is off, so that the vCPUs' own faults split. The program's figures
 * are run times only; the counts here follow from the rules that it exercises.
 */
final class KvmPageTableTest {

  private static final int VCPUS = 2;
  private static final int SLOT = 1;
  private static final long BYTES = SelftestVm.GIB;
  private static final long GPA = SelftestVm.END_OF_GUEST_MEMORY - BYTES;
  private static final long LARGE = 2 * SelftestVm.MIB;
  private static final long LARGE_PAGES = BYTES / LARGE;
  private static final long CODE_PAGES = 1;

  @RegisterExtension final SelftestHost host = new SelftestHost();

  @ParameterizedTest
  @EnumSource
  void hugePagesAreSplitByTheWritesThatNeedIt_andComeBack(KernelGeneration generation) {
    host.setParameter(generation, "eager_page_split", "N");
    SelftestVm vm = host.newVm(generation);
    MemoryRegion region = vm.addSlot(SLOT, GPA, BYTES, PageLevel.LEVEL_2M);
    vm.withCode();
    for (int i = 0; i < VCPUS; i++) {
      vm.addVcpu();
    }
    Pages huge = new Pages(CODE_PAGES, LARGE_PAGES, 0);

    vm.runAll(KvmPageTableTest::create);
    assertThat(vm.stats()).isEqualTo(huge);

    vm.set(region.withFlags(MemoryRegion.LOG_DIRTY_PAGES));
    assertThat(vm.stats()).isEqualTo(huge);
    assertThat(vm.leafs(GPA, BYTES)).noneMatch(leaf -> vm.mmu().format().isWritable(leaf.spte()));

    vm.runAll(KvmPageTableTest::update);
    assertThat(vm.stats()).isEqualTo(new Pages(CODE_PAGES + LARGE_PAGES * 512, 0, 0));
    assertThat(vm.mmu().splits().get(SplitCause.FAULT)).isEqualTo(LARGE_PAGES);
    assertThat(vm.mmu().splits().get(SplitCause.DIRTY_LOG)).isZero();
    assertThat(vm.leafs(GPA, BYTES))
        .filteredOn(leaf -> vm.mmu().format().isWritable(leaf.spte()))
        .hasSize((int) LARGE_PAGES)
        .allMatch(leaf -> PageLevel.LEVEL_2M.isAligned(leaf.gfn()));

    vm.set(region);
    boolean inPlace = generation == KernelGeneration.LINUX_7_1;
    assertThat(vm.stats()).isEqualTo(inPlace ? huge : new Pages(CODE_PAGES, 0, 0));

    vm.runAll(KvmPageTableTest::adjust);
    assertThat(vm.stats()).isEqualTo(huge);
  }

  /** KVM_CREATE_MAPPINGS: each vCPU writes its part of every large page. */
  private static void create(SelftestVcpu vcpu) {
    int id = vcpu.mmu().vcpu().id();
    vcpu.must(AccessKind.EXEC, SelftestVm.CODE);
    for (long at = GPA + id * LARGE / VCPUS; at < GPA + BYTES; at += LARGE) {
      vcpu.must(AccessKind.WRITE, at);
    }
  }

  /** KVM_UPDATE_MAPPINGS: writes the first page of each large page, and reads its second half. */
  private static void update(SelftestVcpu vcpu) {
    for (long large = GPA; large < GPA + BYTES; large += LARGE) {
      vcpu.must(AccessKind.WRITE, large);
      for (long at = large + LARGE / 2; at < large + LARGE; at += 4096) {
        vcpu.must(AccessKind.READ, at);
      }
    }
  }

  /** KVM_ADJUST_MAPPINGS: reads everything. */
  private static void adjust(SelftestVcpu vcpu) {
    for (long at = GPA; at < GPA + BYTES; at += 4096) {
      vcpu.must(AccessKind.READ, at);
    }
  }
}
