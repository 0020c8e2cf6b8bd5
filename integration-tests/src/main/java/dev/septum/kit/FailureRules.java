package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.septum.kernel.FaultInjector;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.FaultOutcome;
import java.util.List;

/** Pages that cannot be had: an expected outcome, after which everything is as it was. */
public abstract class FailureRules extends BackendKit {

  /** More allocations than a flow has. */
  private static final int MANY = 60;

  /** Has the nth allocation from now on fail; whether it was reached. */
  private static boolean withoutThe(int nth, KitVm vm, Runnable flow) {
    int[] calls = {0};
    FaultInjector.Rule rule = (place, call) -> ++calls[0] == nth;
    vm.pages().faults().failWhen(rule);
    flow.run();
    vm.pages().faults().clear();
    return calls[0] >= nth;
  }

  @Rule("FAIL.1")
  void aFaultWithoutPages_leavesNothingBehind() {
    assumeBasics();
    boolean isReached = true;
    for (int nth = 1; isReached && nth < MANY; nth++) {
      KitVm vm = vm();
      int failing = nth;
      FaultOutcome[] outcome = new FaultOutcome[1];
      isReached = withoutThe(nth, vm, () -> outcome[0] = vm.fault(0, FIRST));
      assertEquals(
          List.of(),
          vm.violations(),
          () -> "a fault whose allocation %d failed: %s".formatted(failing, outcome[0]));
      vm.closeOnce();
    }
  }

  @Rule("FAIL.2")
  void aFaultWithoutPages_canBeTakenAgain() {
    assumeBasics();
    boolean isReached = true;
    for (int nth = 1; isReached && nth < MANY; nth++) {
      KitVm vm = vm();
      int failing = nth;
      isReached = withoutThe(nth, vm, () -> vm.fault(0, FIRST));
      FaultOutcome again = vm.fault(0, FIRST);
      assertEquals(
          Errno.OK,
          again.error(),
          () -> "a fault after one whose allocation %d failed: %s".formatted(failing, again));
      assertTrue(
          vm.levelOf(FIRST) != PageLevel.NONE,
          () -> "nothing is mapped after a fault whose allocation %d failed".formatted(failing));
      vm.closeOnce();
    }
  }

  /** A conversion that needs two splits. */
  @Rule("FAIL.3")
  void aConversionWithoutPages_leavesNothingBehind() {
    assumeBasics();
    boolean isReached = true;
    for (int nth = 1; isReached && nth < MANY; nth++) {
      KitVm vm = vm();
      assumeMapped(vm, 0, FIRST);
      assumeMapped(vm, 0, FIRST + 512);
      int failing = nth;
      Errno[] status = {Errno.OK};
      GfnRange range = GfnRange.ofPages(FIRST + 256, 512);
      isReached = withoutThe(nth, vm, () -> status[0] = vm.convert(range, false));
      assertTrue(
          status[0] == Errno.OK || status[0] == Errno.ENOMEM,
          () -> "a conversion whose allocation %d failed: %s".formatted(failing, status[0]));
      assertEquals(
          List.of(),
          vm.violations(),
          () -> "a conversion whose allocation %d failed: %s".formatted(failing, status[0]));
      vm.closeOnce();
    }
  }
}
