package dev.septum.kit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Vcpu;
import java.util.ArrayList;
import java.util.List;

/** The pages that a vCPU has ready for new external page tables. */
public abstract class FaultCacheRules extends BackendKit {

  /** Tables that one walk may need. */
  private static final int TABLES = 5;

  private static Errno topup(Vcpu vcpu) {
    return vcpu.kvm().ops().topupExternalFaultCache(vcpu, TABLES);
  }

  /** Pages that can be had while the host has none. */
  private static List<Long> drain(KitVm vm, Vcpu vcpu, int most) {
    vm.pages().faults().failWhen((place, call) -> true);
    try {
      return take(vm, vcpu, most);
    } finally {
      vm.pages().faults().clear();
    }
  }

  private static List<Long> take(KitVm vm, Vcpu vcpu, int most) {
    List<Long> pages = new ArrayList<>();
    vm.underMmuLock(
        LockMode.SHARED,
        () -> {
          long page = 0;
          while (pages.size() < most && page != PageAllocator.NO_PAGE) {
            page = vm.kvm().ops().allocExternalFaultCache(vcpu);
            if (page != PageAllocator.NO_PAGE) {
              pages.add(page);
            }
          }
          return pages;
        });
    return pages;
  }

  @Rule("FAULT.1")
  void afterATopup_asManyPagesCanBeHad() {
    KitVm vm = vm();
    Vcpu vcpu = vm.vcpus().get(0).vcpu();
    assumeOk("a topup", topup(vcpu));
    List<Long> pages = drain(vm, vcpu, TABLES);
    assertEquals(
        TABLES,
        pages.stream().distinct().count(),
        "pages that alloc_external_fault_cache gave after a topup for " + TABLES);
  }

  @Rule("FAULT.2")
  void aTopupWithoutPages_isEnomem_andTheNextGoesOn() {
    KitVm vm = vm();
    Vcpu vcpu = vm.vcpus().get(0).vcpu();
    int[] calls = {0};
    vm.pages().faults().failWhen((place, call) -> ++calls[0] == 3);
    Errno status = topup(vcpu);
    vm.pages().faults().clear();
    assertEquals(Errno.ENOMEM, status, "a topup whose third page cannot be had");
    assertEquals(Errno.OK, topup(vcpu), "the topup after it");
  }

  @Rule("FAULT.3")
  void pagesAreTheVcpusOwn() {
    KitVm vm = vm();
    Vcpu other = vm.vcpus().get(1).vcpu();
    assumeOk("a topup", topup(vm.vcpus().get(0).vcpu()));
    assertEquals(
        List.of(),
        drain(vm, other, 1),
        "alloc_external_fault_cache of a vCPU without pages, while another vCPU has some");
  }

  @Rule("FAULT.4")
  void allocTakesNoPageFromTheHost() {
    KitVm vm = vm();
    Vcpu vcpu = vm.vcpus().get(0).vcpu();
    assumeOk("a topup", topup(vcpu));
    int[] calls = {0};
    vm.pages()
        .faults()
        .failWhen(
            (place, call) -> {
              calls[0]++;
              return false;
            });
    List<Long> pages = take(vm, vcpu, 2);
    vm.pages().faults().clear();
    assertNotEquals(0, pages.size(), "pages of the cache");
    assertEquals(0, calls[0], "pages that alloc_external_fault_cache took from the host");
  }

  @Rule("FAULT.5")
  void freeEmptiesTheCache() {
    KitVm vm = vm();
    Vcpu vcpu = vm.vcpus().get(0).vcpu();
    assumeOk("a topup", topup(vcpu));
    vm.kvm().ops().freeExternalFaultCache(vcpu);
    assertEquals(
        List.of(), drain(vm, vcpu, 1), "pages in the cache after free_external_fault_cache");
  }

  @Rule("FAULT.6")
  void topupTakesNoMmuLock() {
    assertTakesNoMmuLock(vm(), kernel());
    explore(
        host -> {
          KitVm vm = host.newVm();
          host.actor(() -> assertTakesNoMmuLock(vm, host.kernel()))
              .actor(() -> topup(vm.vcpus().get(1).vcpu()))
              .play();
        });
  }

  private static void assertTakesNoMmuLock(KitVm vm, WatchedKernel kernel) {
    Vcpu vcpu = vm.vcpus().get(0).vcpu();
    List<LockClass> locks = kernel.locksOf(() -> assumeOk("a topup", topup(vcpu)));
    assertTrue(
        locks.stream().noneMatch(lock -> lock == LockClass.MMU_LOCK),
        () -> "topup_external_fault_cache took mmu_lock: " + locks);
  }
}
