package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.Mockito.mock;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.KernelGeneration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Each check after a selftest fires when the one thing that it guards is broken. */
final class SelftestHostTest {

  private final SelftestHost host = new SelftestHost();
  private final SelftestVm vm = host.newVm(KernelGeneration.LINUX_7_1).withCode();

  SelftestHostTest() {
    vm.addVcpu().must(AccessKind.EXEC, SelftestVm.CODE);
  }

  private void assertFails(String message) {
    assertThatThrownBy(() -> host.afterEach(mock(ExtensionContext.class)))
        .hasMessageContaining(message);
  }

  @Test
  void nothingIsWrongWithAVmThatRan_andAllOfItIsBack() {
    host.afterEach(mock(ExtensionContext.class));
    assertThat(host.pages().census()).containsEntry(PageOwner.FREE, host.pages().totalPages());
  }

  @Test
  void wrongStatistic() {
    vm.kvm().stats().add(VmStat.PAGES_2M, 1);
    assertFails("pages_2m is 1, but there are 0");
  }

  @Test
  void pageThatNobodyHasAReasonFor() {
    host.pages().allocPage(PageOwner.MMU_PAGE_TABLE, Gfp.KERNEL);
    assertFails("MMU_PAGE_TABLE=");
  }

  @Test
  void bugged() {
    vm.kvm().bugOn(true, "the test says so");
    assertFails("the test says so");
  }

  @Test
  void lockThatIsHeld() {
    vm.kvm().mmuLock().lock(LockMode.SHARED);
    assertFails("lock held at a check of the invariants: mmu_lock (read)");
    vm.kvm().mmuLock().unlock(LockMode.SHARED);
  }

  @Test
  void objectThatIsLeaked() {
    assertThat(host.pages().allocObject("kvm_mmu_page_header", Gfp.KERNEL)).isTrue();
    assertFails("kvm_mmu_page_header");
  }

  @Test
  void threadThatFailed_failsWhoeverStopsIt() {
    GuestThread thread =
        new GuestThread(
            host.kernel(),
            "lost guest",
            () -> {
              vm.vcpu(0).must(AccessKind.WRITE, SelftestVm.GIB);
              return true;
            });
    thread.awaitRound();
    assertThat(thread.isOver()).isTrue();
    assertThatThrownBy(thread::stop).hasMessageContaining("WRITE of 40000000: Access[result=MMIO");
  }

  @Test
  void reservedMemory_isAlignedAsItsPagesAre() {
    SelftestVm other = host.newVm(KernelGeneration.LINUX_7_1);
    long hva = other.user().map(3 * SelftestVm.GIB, SelftestVm.GIB, PageLevel.LEVEL_1G);
    assertThat(PageLevel.LEVEL_1G.isAligned(other.user().pfn(hva))).isTrue();
    assertThat(other.user().pfn(hva + SelftestVm.GIB - 1))
        .isEqualTo(other.user().pfn(hva) + PageLevel.LEVEL_1G.pages() - 1);
    assertThat(other.user().frames()).isEqualTo(PageLevel.LEVEL_1G.pages());
  }
}
