package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;

import dev.septum.kernel.FaultInjector;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Capability;
import dev.septum.kvm.GfnRange;

/**
 * What holds for every call of every op. The same is done for each rule, namely everything; the
 * rule is broken if one of the calls breaks it.
 */
public abstract class CallRules extends BackendKit {

  @Rule("CALL.1")
  void noOp_throws() {
    doEverything();
  }

  @Rule("CALL.2")
  void everyOp_returns() {
    doEverything();
  }

  @Rule("CALL.3")
  void everyResult_isOneThatKvmKnows() {
    doEverything();
  }

  @Rule("CALL.4")
  void everyOp_leavesLocksAsItFoundThem() {
    doEverything();
    race();
  }

  @Rule("CALL.5")
  void noOpUnderMmuLock_sleeps() {
    doEverything();
    race();
  }

  @Rule("CALL.6")
  void everyOp_takesLocksInTheirOrder() {
    doEverything();
    race();
  }

  /** The same rules in every schedule of two faults. */
  private void race() {
    if (capabilities().contains(Capability.EXTERNAL_PAGE_TABLE)) {
      explore(
          host -> {
            KitVm vm = host.newVm();
            host.actor(() -> vm.faultOnce(0, FIRST))
                .actor(() -> vm.faultOnce(1, FIRST + 512))
                .play();
          });
    }
  }

  /** Maps, splits, converts back and forth, with pages and without; destroys the VM. */
  private void doEverything() {
    KitVm vm = anyVm();
    if (!capabilities().contains(Capability.EXTERNAL_PAGE_TABLE)) {
      vm.closeOnce();
      return;
    }
    for (int vcpu = 0; vcpu < 2; vcpu++) {
      for (long gfn = FIRST; gfn < KitVm.END; gfn += 512) {
        vm.fault(vcpu, gfn + vcpu);
      }
    }
    vm.split(FIRST, LockMode.EXCLUSIVE);
    if (capabilities().contains(Capability.SHARED_SPLIT)) {
      vm.split(FIRST + 512, LockMode.SHARED);
    }
    vm.convert(GfnRange.ofPages(FIRST + 7, 600), false);
    vm.fault(0, FIRST + 0x10);
    vm.convert(GfnRange.ofPages(FIRST + 7, 600), true);
    vm.fault(1, FIRST + 8);
    withoutPages(vm);
    vm.closeOnce();
  }

  /** Each of the next allocations fails once. */
  private static void withoutPages(KitVm vm) {
    for (int nth = 1; nth < 8; nth++) {
      int failing = nth;
      int[] calls = {0};
      FaultInjector.Rule once = (place, call) -> ++calls[0] == failing;
      vm.pages().faults().failWhen(once);
      vm.convert(GfnRange.ofPages(FIRST + 2 * 512 + 16L * nth, 8), false);
      vm.fault(0, FIRST + 2 * 512 + 300 + nth);
      vm.pages().faults().clear();
    }
    vm.convert(GfnRange.ofPages(FIRST + 2 * 512, 512), true);
  }
}
