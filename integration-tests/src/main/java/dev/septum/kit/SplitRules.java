package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.ExternalTable.Leaf;
import dev.septum.kvm.ExternalTable.Table;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** A huge leaf becomes a table of small ones, and the guest cannot tell. */
public abstract class SplitRules extends BackendKit {

  private KitVm withHugeLeaf() {
    KitVm vm = vm();
    assumeHuge(vm, 0, FIRST);
    log(vm).take();
    NotJudged.unless(
        vm.mirrorLeafs().equals(vm.externalLeafs()), "the leaf is another one: see TABLE.2");
    NotJudged.unless(
        vm.pages().isOwnedBy(PageOwner.GUEST_MEMORY, vm.mirrorLeafs().get(0).pfn(), 512),
        "the leaf's pages are not the guest's: see TABLE.6");
    return vm;
  }

  private void assumeSplit(KitVm vm) {
    vm.split(FIRST, LockMode.EXCLUSIVE);
    NotJudged.unless(
        log(vm).take().stream()
            .anyMatch(call -> call.is("split_external_spte") && !call.status().isError()),
        "split_external_spte never returned OK: see SPLIT.1");
  }

  @Rule("SPLIT.1")
  void aSplitUnderTheWriteLock_canBeDone() {
    KitVm vm = withHugeLeaf();
    assertEquals(Errno.OK, vm.split(FIRST, LockMode.EXCLUSIVE), "a split under the write mmu_lock");
  }

  @Rule("SPLIT.2")
  void aSplit_keepsEveryTranslation() {
    KitVm vm = withHugeLeaf();
    Leaf huge = Objects.requireNonNull(vm.external().walk(FIRST));
    assumeSplit(vm);
    List<Leaf> small = new ArrayList<>();
    for (long i = 0; i < 512; i++) {
      small.add(new Leaf(FIRST + i, PageLevel.LEVEL_4K, huge.pfn() + i));
    }
    assertEquals(small, vm.externalLeafs(), "leafs after a split of " + huge);
  }

  @Rule("SPLIT.3")
  void theNewTable_isThere_andItsPageTheBackends() {
    KitVm vm = withHugeLeaf();
    List<Table> before = vm.external().tables();
    assumeSplit(vm);
    List<Table> added = new ArrayList<>(vm.external().tables());
    added.removeAll(before);
    assertEquals(1, added.size(), "tables that a split added: " + added);
    assertEquals(FIRST, added.get(0).gfn(), "first gfn of the table that a split added");
    assertEquals(PageLevel.LEVEL_2M, added.get(0).level(), "level of the entry that leads to it");
    assertEquals(
        PageOwner.SEPT_PAGE,
        vm.pages().ownerOf(added.get(0).pfn()),
        "owner of the page of the table that a split added");
  }

  @Rule("SPLIT.4")
  void theGuestsPages_keepTheirOwner() {
    KitVm vm = withHugeLeaf();
    Leaf huge = Objects.requireNonNull(vm.external().walk(FIRST));
    assumeSplit(vm);
    assertTrue(
        vm.pages().isOwnedBy(PageOwner.GUEST_MEMORY, huge.pfn(), 512),
        "the pages of a leaf that was split are not guest memory any more");
  }

  @Rule("SPLIT.5")
  void aRefusedSplit_changesNothing() {
    KitVm vm = withHugeLeaf();
    List<Leaf> leafs = vm.external().leafs();
    List<Table> tables = vm.external().tables();
    refuse(vm);
    assertEquals(leafs, vm.external().leafs(), "leafs after a split was refused");
    assertEquals(tables, vm.external().tables(), "tables after a split was refused");
  }

  /** The one split that is refused; its status is not OK, or the rule cannot be judged. */
  private void refuse(KitVm vm) {
    assumeRefused(vm, FIRST);
  }

  @Rule("SPLIT.6")
  void afterARefusal_theSplitCanBeDone() {
    assumeSplit(withHugeLeaf());
    KitVm vm = withHugeLeaf();
    refuse(vm);
    assertEquals(
        Errno.OK, vm.split(FIRST, LockMode.EXCLUSIVE), "the next split after one was refused");
    assertEquals(PageLevel.LEVEL_4K, vm.levelOf(FIRST), "the leaf after that split");
  }

  @Rule("SPLIT.7")
  void aSplit_leavesOtherLeafsAlone() {
    KitVm vm = withHugeLeaf();
    assumeMapped(vm, 0, FIRST + 512);
    ExternalTable.Leaf other = vm.external().walk(FIRST + 512);
    log(vm).take();
    assumeSplit(vm);
    assertEquals(other, vm.external().walk(FIRST + 512), "the leaf beside the one that was split");
  }
}
