package dev.septum.kit;

import static dev.septum.kit.KitVm.FIRST;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.ExternalTable.Leaf;
import dev.septum.kvm.ExternalTable.Table;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.InterposedOps;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MmuView;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;

/** The external page table shows what the mirror has. */
public abstract class ExternalTableRules extends BackendKit {

  private static final int RANDOM_STEPS = 500;

  private static Set<Table> mirrorTables(KitVm vm) {
    return new MmuView(vm.mmu())
        .mirrorTables().stream()
            .map(table -> new Table(table.gfn(), table.level(), table.externalSpt()))
            .collect(Collectors.toSet());
  }

  @Rule("TABLE.1")
  void aLinkedTable_isThere_andItsPageTheBackends() {
    KitVm vm = vm();
    assumeMapped(vm, 0, FIRST);
    for (Table table : mirrorTables(vm)) {
      assertEquals(
          PageOwner.SEPT_PAGE,
          vm.pages().ownerOf(table.pfn()),
          () -> "owner of the page of " + table + " after link_external_spt");
    }
    assertEquals(
        mirrorTables(vm),
        ImmutableSet.copyOf(vm.external().tables()),
        "tables that were linked, and ExternalTable.tables()");
  }

  @Rule("TABLE.2")
  void aMappedLeaf_leadsToItsPage() {
    KitVm vm = vm();
    assumeMapped(vm, 0, FIRST);
    ExternalTable.Leaf leaf = vm.external().walk(FIRST);
    assertNotNull(leaf, "the leaf after set_external_spte");
    assertEquals(
        vm.mirrorLeafs().stream().filter(l -> l.gfn() == leaf.gfn()).toList(),
        List.of(leaf),
        "the mirror's leaf at that gfn, and the leaf after set_external_spte");
  }

  @Rule("TABLE.3")
  void aRemovedLeaf_isGone_andItsNeighboursAreNot() {
    KitVm vm = vm();
    assumeOk("an attribute", vm.convert(GfnRange.ofPages(FIRST + 3, 1), false));
    assumeMapped(vm, 0, FIRST + 1);
    assumeMapped(vm, 0, FIRST + 2);
    assumeOk("a conversion", vm.convert(GfnRange.ofPages(FIRST + 1, 1), false));
    assertEquals(
        PageLevel.NONE, vm.levelOf(FIRST + 1), "level of a 4K leaf after remove_external_spte");
    assertEquals(PageLevel.LEVEL_4K, vm.levelOf(FIRST + 2), "level of the leaf beside it");
    assumeMapped(vm, 0, FIRST + 512);
    assumeOk("a conversion", vm.convert(GfnRange.ofPages(FIRST + 512, 512), false));
    assertEquals(
        PageLevel.NONE, vm.levelOf(FIRST + 512), "level of a 2M leaf after remove_external_spte");
  }

  @Rule("TABLE.4")
  void aFreedTable_isNotTheBackendsAnyMore() {
    KitVm vm = vm();
    assumeMapped(vm, 0, FIRST);
    List<PageOwner> owners = new ArrayList<>();
    watch(vm, ops -> new OwnersAfterFree(ops, owners));
    vm.closeOnce();
    NotJudged.unless(!owners.isEmpty(), "free_external_spt never returned OK: see END.1");
    assertEquals(
        Set.of(PageOwner.EXTERNAL_PAGE_TABLE),
        ImmutableSet.copyOf(owners),
        "owners of pages right after free_external_spt returned OK for them");
  }

  /** Notes whose the pages are when the backend has given them back. */
  private static final class OwnersAfterFree extends InterposedOps {
    private final List<PageOwner> owners;

    OwnersAfterFree(KvmX86Ops ops, List<PageOwner> owners) {
      super(ops);
      this.owners = owners;
    }

    @Override
    public Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
      Errno status = super.freeExternalSpt(kvm, gfn, level, externalSpt);
      if (!status.isError()) {
        owners.add(kvm.pages().ownerOf(externalSpt));
      }
      return status;
    }
  }

  @Rule("TABLE.5")
  void whateverHappens_mirrorAndExternalTableAreTheSame() {
    assumeBasics();
    KitVm vm = vm();
    Random random = new Random(1);
    for (int i = 0; i < RANDOM_STEPS; i++) {
      step(vm, random);
      List<Leaf> mirror = vm.mirrorLeafs();
      int step = i;
      assertEquals(
          mirror, vm.externalLeafs(), () -> "mirror and external leafs after step " + step);
    }
    assertEquals(mirrorTables(vm), ImmutableSet.copyOf(vm.external().tables()), "tables");
  }

  private static void step(KitVm vm, Random random) {
    long gfn = FIRST + random.nextInt((int) (KitVm.END - FIRST));
    long pages = random.nextInt(4) == 0 ? 512 : 1 + random.nextInt(40);
    GfnRange range = GfnRange.ofPages(gfn, Math.min(pages, KitVm.END - gfn));
    switch (random.nextInt(4)) {
      case 0 -> vm.convert(range, false);
      case 1 -> vm.convert(range, true);
      case 2 -> vm.convert(GfnRange.ofPages(gfn & -512L, 512), random.nextBoolean());
      default -> vm.fault(random.nextInt(2), gfn);
    }
  }

  @Rule("TABLE.6")
  void guestPages_stayTheGuests() {
    KitVm vm = vm();
    assumeMapped(vm, 0, FIRST);
    for (Leaf leaf : vm.mirrorLeafs()) {
      assertTrue(
          isTheGuests(vm, leaf), () -> "pages of " + leaf + " are not guest memory any more");
    }
  }

  private static boolean isTheGuests(KitVm vm, Leaf leaf) {
    return vm.pages().isOwnedBy(PageOwner.GUEST_MEMORY, leaf.pfn(), leaf.level().pages());
  }

  @Rule("TABLE.7")
  void whatWasRemoved_canBeMappedAgain() {
    KitVm vm = vm();
    assumeMapped(vm, 0, FIRST);
    NotJudged.unless(
        vm.mirrorLeafs().equals(vm.externalLeafs()), "the leaf is another one: see TABLE.2");
    assumeOk("an attribute", vm.unmap(GfnRange.ofPages(FIRST, 512)));
    NotJudged.unless(vm.externalLeafs().isEmpty(), "the leaf is still there: see TABLE.3");
    vm.fault(0, FIRST);
    assertEquals(
        vm.mirrorLeafs(), vm.externalLeafs(), "the same page at the same gfn, mapped once more");
    assertTrue(
        vm.levelOf(FIRST) != PageLevel.NONE, "a page that was removed cannot be mapped again");
    assumeOk("an attribute", vm.unmap(GfnRange.ofPages(FIRST, 512)));
    assumeOk("an attribute", vm.mmu().memory().setAttributes(GfnRange.ofPages(FIRST, 1), false));
    vm.fault(0, FIRST + 1);
    assertEquals(
        PageLevel.LEVEL_4K, vm.levelOf(FIRST + 1), "a page that was removed at 2M, mapped at 4K");
  }

  @Rule("TABLE.8")
  void everyPage_isCounted() {
    KitVm vm = vm();
    assumeMapped(vm, 0, FIRST);
    assertCounted(vm, "after a fault");
    if (capabilities().contains(Capability.SPLIT_CACHE)) {
      assumeOk("a topup", vm.topupSplitCache());
      assertCounted(vm, "after a topup of the split cache");
    }
    if (capabilities().contains(Capability.HUGE_LEAFS)) {
      vm.split(FIRST, LockMode.EXCLUSIVE);
      assertCounted(vm, "after a split");
    }
  }

  private static void assertCounted(KitVm vm, String when) {
    NotJudged.unless(
        vm.mirrorLeafs().stream().allMatch(leaf -> isTheGuests(vm, leaf)),
        "pages of the guest have other owners: see TABLE.6 and SPLIT.4");
    List<String> wrong =
        vm.violations().stream().filter(sentence -> sentence.contains("reasons for")).toList();
    assertEquals(
        List.of(),
        wrong,
        () -> "pages of the host and those of ExternalTable.pages() and of KVM, " + when);
  }
}
