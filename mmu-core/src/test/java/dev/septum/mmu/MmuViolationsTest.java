package dev.septum.mmu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Each sentence of the checker, said of a state that was made wrong on purpose. */
class MmuViolationsTest {

  private static final long SHARED = 0x40000;
  private static final long PRIVATE = 0x80000;
  private static final PageLevel SMALL = PageLevel.LEVEL_4K;

  private final TestVm vm = TestVm.td();

  @BeforeEach
  void mapSomething() {
    vm.addShared(SHARED, 0x400);
    vm.addPrivate(PRIVATE, 2, SMALL);
    vm.map(SHARED | TestVm.SHARED_BIT, TestVm.WRITE);
    vm.map(PRIVATE, TestVm.PRIVATE_WRITE);
    assertThat(vm.view.violations()).isEmpty();
  }

  @AfterEach
  void vmIsSoundAgain() {
    vm.assertSoundAndDestroy();
  }

  @Test
  void frozenEntry() {
    vm.corrupt(vm.mirrorRoot(), PRIVATE + 1, SMALL, SpteFormat.FROZEN);

    assertViolation("gfn 0x80001 level 1 is still frozen");

    vm.corrupt(vm.mirrorRoot(), PRIVATE + 1, SMALL, SpteFormat.NONPRESENT);
  }

  @Test
  void tableWithAnotherParent() {
    MmuPage table = tableOf(vm.directRoot(), SHARED);
    MmuPage parent = table.parent();
    table.init(table.role(), table.gfn(), vm.mirrorRoot(), 0);

    assertViolation("the table at gfn 0x40000 does not know its parent");

    table.init(table.role(), table.gfn(), parent, 0);
  }

  @Test
  void tableWithAnotherRole() {
    MmuPage table = tableOf(vm.directRoot(), SHARED);
    MmuRole role = table.role();
    table.init(role.asInvalid(), table.gfn(), table.parent(), 0);

    assertViolation("the table at gfn 0x40000 has role 3f81");

    table.init(role, table.gfn(), table.parent(), 0);
  }

  @Test
  void mirrorTableWithoutAnExternalPage() {
    MmuPage table = tableOf(vm.mirrorRoot(), PRIVATE);
    long external = table.externalSpt();
    table.forgetExternalSpt();

    assertViolation("the mirror table at gfn 0x80000 has no external page");

    table.setExternalSpt(external);
  }

  @Test
  void tableInAPageOfSomebodyElse() {
    MmuPage table = tableOf(vm.directRoot(), SHARED);
    vm.pages().changeOwner(table.sptPfn, PageOwner.MMU_PAGE_TABLE, PageOwner.PAMT_CACHE);

    assertViolation("the table at gfn 0x40000 is in a page of pamt_cache");

    vm.pages().changeOwner(table.sptPfn, PageOwner.PAMT_CACHE, PageOwner.MMU_PAGE_TABLE);
  }

  @Test
  void leafWritableWithoutTheHostsConsent() {
    long leaf = vm.peek(vm.directRoot(), SHARED);
    vm.corrupt(vm.directRoot(), SHARED, SMALL, leaf & ~(1L << 57));

    assertViolation("the leaf at gfn 0x40000 has inconsistent write bits: 8400000040000b37");

    vm.corrupt(vm.directRoot(), SHARED, SMALL, leaf);
  }

  @Test
  void hugeLeafOfAMisalignedPage() {
    long huge =
        vm.mmu.format().makeLeaf(PageLevel.LEVEL_2M, SHARED + 0x201, LeafTraits.WRITABLE, true);
    vm.corrupt(vm.directRoot(), SHARED + 0x200, PageLevel.LEVEL_2M, huge);
    vm.stats().increment(VmStat.PAGES_2M);

    assertViolation(
        "the leaf at gfn 0x40200 has a pfn that its level does not allow: 8600000040201bb7");

    vm.stats().add(VmStat.PAGES_2M, -1);
    vm.corrupt(vm.directRoot(), SHARED + 0x200, PageLevel.LEVEL_2M, SpteFormat.NONPRESENT);
  }

  @Test
  void leafOfAPageThatIsNobodysMemory() {
    vm.pages().changeOwner(SHARED, PageOwner.USER_MEMORY, PageOwner.GUEST_MEMORY);
    assertViolation("the leaf at gfn 0x40000 maps a page of guest_memory");
    vm.pages().changeOwner(SHARED, PageOwner.GUEST_MEMORY, PageOwner.USER_MEMORY);

    long pfn = vm.mmu.format().pfn(vm.peek(vm.mirrorRoot(), PRIVATE));
    vm.pages().changeOwner(pfn, PageOwner.GUEST_MEMORY, PageOwner.USER_MEMORY);
    assertViolation("the leaf at gfn 0x80000 maps a page of user_memory");
    vm.pages().changeOwner(pfn, PageOwner.USER_MEMORY, PageOwner.GUEST_MEMORY);
  }

  @Test
  void ordinaryVmThatMapsAFreedPage() {
    TestVm ordinary = TestVm.ordinary();
    ordinary.addShared(SHARED, 1);
    ordinary.map(SHARED, TestVm.WRITE);
    ordinary.pages().freePage(SHARED, PageOwner.USER_MEMORY);

    assertThat(ordinary.view.violations())
        .containsExactly("the leaf at gfn 0x40000 maps a page of free");

    assertThat(ordinary.pages().allocPage(PageOwner.USER_MEMORY, Gfp.KERNEL)).isEqualTo(SHARED);
    ordinary.assertSoundAndDestroy();
  }

  @Test
  void mirrorLeafOfASharedGfn() {
    vm.mmu.attributes().set(GfnRange.ofPages(PRIVATE, 1), false);

    assertViolation("the mirror leaf at gfn 0x80000 maps shared frames");

    vm.mmu.attributes().set(GfnRange.ofPages(PRIVATE, 1), true);
  }

  @Test
  void statisticThatDrifted() {
    vm.stats().increment(VmStat.PAGES_4K);
    vm.stats().increment(VmStat.PAGES_1G);

    assertThat(vm.view.violations())
        .containsExactly("pages_4k is 3, but there are 2", "pages_1g is 1, but there are 0");

    vm.stats().add(VmStat.PAGES_4K, -1);
    vm.stats().add(VmStat.PAGES_1G, -1);
  }

  @Test
  void invalidationThatNeverEnded() {
    vm.mmu.withMmuLock(
        () -> {
          vm.mmu.invalidate().begin();
          return Errno.OK;
        });

    assertViolation("an invalidation was begun and never ended");

    vm.mmu.withMmuLock(
        () -> {
          vm.mmu.invalidate().end();
          return Errno.OK;
        });
  }

  private void assertViolation(String sentence) {
    assertThat(vm.view.violations()).containsExactly(sentence);
  }

  private MmuPage tableOf(MmuPage root, long gfn) {
    return vm.at(root, gfn, SMALL, LockMode.SHARED, TdpIter::table);
  }
}
