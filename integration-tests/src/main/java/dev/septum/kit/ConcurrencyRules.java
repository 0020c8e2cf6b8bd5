package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.septum.kernel.LockMode;
import dev.septum.kvm.Capability;
import dev.septum.kvm.GfnRange;
import java.util.List;

/** Ops of several threads at once, under every schedule of the races that are few enough. */
public abstract class ConcurrencyRules extends BackendKit {

  /** The mirror has entries of its own for each gfn: what meets is the backend's own state. */
  @Rule("RACE.1")
  void faultsOfTwoRanges() {
    requires(Capability.EXTERNAL_PAGE_TABLE);
    assumeBasics();
    explore(
        host -> {
          KitVm vm = host.newVm();
          vm.fault(0, FIRST + 2 * 512);
          vm.fault(1, FIRST + 2 * 512);
          host.actor(() -> vm.faultOnce(0, FIRST)).actor(() -> vm.faultOnce(1, FIRST + 512)).play();
          assertEquals(List.of(), vm.violations(), "faults of two ranges at once");
        });
  }

  @Rule("RACE.2")
  void aFaultAndARemoval() {
    requires(Capability.EXTERNAL_PAGE_TABLE);
    assumeBasics();
    explore(
        host -> {
          KitVm vm = host.newVm();
          vm.convert(GfnRange.ofPages(FIRST + 1, 1), false);
          vm.fault(0, FIRST);
          vm.fault(1, FIRST + 1024);
          host.actor(() -> vm.faultOnce(1, FIRST + 512))
              .actor(() -> vm.file().punchHole(FIRST, FIRST + 1))
              .play();
          assertEquals(List.of(), vm.violations(), "a fault and a removal at once");
        });
  }

  @Rule("RACE.3")
  void splitsOfTwoLeafsUnderTheReadLock() {
    requires(Capability.EXTERNAL_PAGE_TABLE);
    requires(Capability.SHARED_SPLIT);
    assumeBasics();
    assumeSharedSplit();
    explore(
        host -> {
          KitVm vm = host.newVm();
          vm.fault(0, FIRST);
          vm.fault(0, FIRST + 512);
          host.actor(() -> vm.split(FIRST, LockMode.SHARED))
              .actor(() -> vm.split(FIRST + 512, LockMode.SHARED))
              .play();
          assertEquals(List.of(), vm.violations(), "splits of two leafs at once");
          assertEquals(1024, vm.mirrorLeafs().size(), "leafs after splits of two leafs at once");
        });
  }

  private void assumeSharedSplit() {
    KitVm vm = vm();
    assumeHuge(vm, 0, FIRST);
    NotJudged.unless(
        !vm.split(FIRST, LockMode.SHARED).isError(), "no split under the read lock: see CAP.4");
  }
}
