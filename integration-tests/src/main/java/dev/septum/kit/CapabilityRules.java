package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.RetPf;
import java.util.List;

/** A backend can do what it claims, and leaves alone what it does not. */
public abstract class CapabilityRules extends BackendKit {

  @Rule("CAP.1")
  void externalPageTable_aFaultIsMapped() {
    KitVm vm = vm();
    FaultOutcome outcome = vm.fault(0, FIRST);
    assertEquals(RetPf.FIXED, outcome.result(), () -> "a private fault: " + outcome);
    assertTrue(
        vm.levelOf(FIRST) != PageLevel.NONE,
        "the fault was resolved, but ExternalTable.walk() finds no leaf");
  }

  @Rule("CAP.2")
  void hugeLeafs_aFaultIn2MFoliosIsMappedAt2M() {
    requires(Capability.HUGE_LEAFS);
    KitVm vm = vm();
    assumeMapped(vm, 0, FIRST);
    assertEquals(
        PageLevel.LEVEL_2M,
        vm.levelOf(FIRST),
        "HUGE_LEAFS is claimed: look at gmem_max_mapping_level");
  }

  @Rule("CAP.3")
  void noHugeLeafs_gmemMaxMappingLevelIs4K() {
    requiresNo(Capability.HUGE_LEAFS);
    KitVm vm = vm();
    assertEquals(
        PageLevel.LEVEL_4K,
        vm.kvm().ops().gmemMaxMappingLevel(vm.kvm(), 0, true),
        "HUGE_LEAFS is not claimed: gmem_max_mapping_level of private memory must be 4K");
  }

  @Rule("CAP.4")
  void sharedSplit_splitsUnderTheReadLock() {
    requires(Capability.SHARED_SPLIT);
    KitVm vm = vm();
    assumeHuge(vm, 0, FIRST);
    Errno status = vm.split(FIRST, LockMode.SHARED);
    assertEquals(Errno.OK, status, "SHARED_SPLIT is claimed: a split under the read mmu_lock");
  }

  @Rule("CAP.5")
  void noSharedSplit_refusesTheReadLockOnly() {
    requiresNo(Capability.SHARED_SPLIT);
    requires(Capability.HUGE_LEAFS);
    KitVm vm = vm();
    assumeHuge(vm, 0, FIRST);
    vm.split(FIRST, LockMode.SHARED);
    List<Errno> statuses =
        log(vm).take().stream()
            .filter(call -> call.is("split_external_spte"))
            .map(OpCall::status)
            .toList();
    assertEquals(
        List.of(Errno.EOPNOTSUPP),
        statuses,
        "SHARED_SPLIT is not claimed: split_external_spte under the read mmu_lock must return"
            + " EOPNOTSUPP");
    assertEquals(PageLevel.LEVEL_2M, vm.levelOf(FIRST), "the leaf after EOPNOTSUPP");
  }

  @Rule("CAP.6")
  void noSplitCache_neverNeedsATopup() {
    requiresNo(Capability.SPLIT_CACHE);
    KitVm vm = vm();
    assertFalse(
        vm.needsSplitCacheTopup(LockMode.EXCLUSIVE),
        "SPLIT_CACHE is not claimed: need_topup_external_per_vm_split_cache must be false");
    assertEquals(Errno.OK, vm.topupSplitCache(), "a topup of no cache");
    assertEquals(0, vm.external().splitCachePages(), "pages of a cache that is not claimed");
  }

  @Rule("CAP.7")
  void noExternalPageTable_nothingIsShown_andNoOpIsNeeded() {
    requiresNo(Capability.EXTERNAL_PAGE_TABLE);
    KitVm vm = anyVm();
    vm.vcpus().forEach(vcpu -> assumeOk("a vCPU's roots", vcpu.load()));
    assertEquals(List.of(), vm.external().leafs(), "EXTERNAL_PAGE_TABLE is not claimed: leafs");
    assertEquals(List.of(), vm.external().tables(), "EXTERNAL_PAGE_TABLE is not claimed: tables");
    assertEquals(0, heldPages(vm.external()), "EXTERNAL_PAGE_TABLE is not claimed: pages");
  }

  private static long heldPages(ExternalTable external) {
    return external.pages().values().stream().mapToLong(Long::longValue).sum();
  }

  @Rule("CAP.8")
  void whatABackendSaysOfItself_isThereAndStays() {
    assertNotNull(backend().description(), "description()");
    assertFalse(backend().description().isBlank(), "description() is empty");
    assertEquals(
        backend().capabilities(), backend().capabilities(), "capabilities() changed between calls");
    assertEquals(backend().name(), backend().name(), "name() changed between calls");
  }
}
