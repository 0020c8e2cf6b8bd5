package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.septum.kvm.Capability;
import dev.septum.kvm.ExternalTable.Leaf;
import dev.septum.kvm.GfnRange;
import java.util.List;
import java.util.Map;

/** When a VM goes, all of it goes, and nothing else. */
public abstract class TeardownRules extends BackendKit {

  private void use(KitVm vm) {
    assumeBasics();
    vm.fault(0, FIRST);
    vm.fault(1, FIRST + 512);
    vm.convert(GfnRange.ofPages(FIRST + 256, 512), false);
  }

  @Rule("END.1")
  void everyPage_comesBack() {
    KitVm vm = anyVm();
    if (capabilities().contains(Capability.EXTERNAL_PAGE_TABLE)) {
      use(vm);
    } else {
      vm.vcpus().forEach(vcpu -> assumeOk("a vCPU's roots", vcpu.load()));
    }
    vm.closeOnce();
    vm.kvm().kernel().rcu().barrier();
    assertEquals(
        Map.of(),
        vm.pages().taken(),
        "pages that did not come back from a VM of backend " + backend().name());
  }

  private void everyPage_comesBackOrNotJudged() {
    KitVm vm = vm();
    use(vm);
    vm.closeOnce();
    vm.kvm().kernel().rcu().barrier();
    NotJudged.unless(vm.pages().taken().isEmpty(), "pages do not come back at all: see END.1");
  }

  @Rule("END.2")
  void anOrdinaryLife_bugsNoVm() {
    KitVm vm = vm();
    use(vm);
    vm.closeOnce();
    assertFalse(vm.kvm().isBugged(), () -> "the VM is bugged: " + vm.kvm().splat());
  }

  @Rule("END.3")
  void anotherVm_keepsWhatItHas() {
    KitVm vm = vm();
    KitVm other = watched(vm.another());
    assumeMapped(other, 0, FIRST);
    List<Leaf> before = other.external().leafs();
    use(vm);
    assertEquals(before, other.external().leafs(), "leafs of another VM while this one is used");
    vm.closeOnce();
    assertEquals(before, other.external().leafs(), "leafs of another VM after this one went");
  }

  @Rule("END.4")
  void aBuggedVm_givesEveryPageBack() {
    everyPage_comesBackOrNotJudged();
    KitVm vm = vm();
    use(vm);
    vm.kvm().bugOn(true, "the kit had it bugged");
    vm.closeOnce();
    vm.kvm().kernel().rcu().barrier();
    assertEquals(
        Map.of(), vm.pages().taken(), "pages that did not come back from a VM that was bugged");
  }
}
