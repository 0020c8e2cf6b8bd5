package dev.septum.it;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.Mockito.mock;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.VmStat;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.module.SeamRegs;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Each invariant fires when the one thing that it guards is broken. Nothing here is cleaned up. */
final class InvariantsTest {

  private final TdScenario host = TdScenario.packed();
  private final Vmm vmm = host.bootWithLeafs(2);
  private final long tdr = vmm.kvm().tdr();

  private List<String> violations() {
    return HostInvariants.violations(host.tdx(), host.vmms());
  }

  private void seamcall(SeamRegs regs) {
    host.tdx().module().seamcall(regs);
    assertThat(TdxStatus.isSuccess(regs.rax)).as(TdxStatus.describe(regs.rax)).isTrue();
  }

  private long newPage(PageOwner owner) {
    return host.pages().allocPage(owner, Gfp.KERNEL);
  }

  @Test
  void nothingIsWrongWithATdThatRuns() {
    assertThat(violations()).isEmpty();
    host.checkInvariants();
  }

  @Test
  void aBlockedLeaf() {
    seamcall(SeamRegs.leaf(SeamcallLeaf.TDH_MEM_RANGE_BLOCK).rcx(0x200001).rdx(tdr << 12));
    assertThat(violations()).containsExactly("VM 1: the leaf at gfn 0x200 is BLOCKED");
  }

  @Test
  void aPageOfALeafThatTheHostTookBack() {
    long pfn = TdScenario.pfnOf(vmm, 0x2ff);
    host.pages().changeOwner(pfn, PageOwner.GUEST_MEMORY, PageOwner.USER_MEMORY);
    assertThat(violations())
        .contains("VM 1: the leaf at gfn 0x200 still has pages that the host took for other uses");
  }

  @Test
  void aLeafThatTheMirrorDoesNotHave() {
    long folio = host.pages().allocFolio(PageOwner.GUEST_MEMORY, Gfp.KERNEL);
    seamcall(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_AUG).rcx(0x600001).rdx(tdr << 12).r8(folio << 12));
    assertThat(violations())
        .anyMatch(v -> v.startsWith("VM 1: the mirror lacks Leaf[gfn=1536, level=LEVEL_2M"))
        .anyMatch(v -> v.startsWith("guest_memory has "));
  }

  @Test
  void aLeafThatTheModuleDoesNotHave() {
    SeamRegs block = SeamRegs.leaf(SeamcallLeaf.TDH_MEM_RANGE_BLOCK);
    seamcall(block.rcx(0x200001).rdx(tdr << 12));
    seamcall(SeamRegs.leaf(SeamcallLeaf.TDH_MEM_TRACK).rcx(tdr << 12));
    seamcall(SeamRegs.leaf(SeamcallLeaf.TDH_MEM_PAGE_REMOVE).rcx(0x200001).rdx(tdr << 12));
    assertThat(violations())
        .singleElement()
        .asString()
        .startsWith("VM 1: the S-EPT lacks Leaf[gfn=512, level=LEVEL_2M");
  }

  @Test
  void aTableThatTheMirrorDoesNotHave() {
    long page = newPage(PageOwner.SEPT_PAGE);
    assertThat(host.tdx().dpamt().get(page).isError()).isFalse();
    seamcall(
        SeamRegs.leaf(SeamcallLeaf.TDH_MEM_SEPT_ADD).rcx(0x600001).rdx(tdr << 12).r8(page << 12));
    assertThat(violations())
        .containsExactly(
            "VM 1: the mirror lacks MappedTable[gfn=1536, level=LEVEL_2M, externalSpt=%d] of the"
                    .formatted(page)
                + " S-EPT");
  }

  @Test
  void aTableThatTheModuleDoesNotHave() {
    // A module that says it took the page, and did not.
    host.injector().failNext(SeamcallLeaf.TDH_MEM_SEPT_ADD, 1, TdxStatus.TDX_SUCCESS);
    AcceptMemory accept = new AcceptMemory(0x600000, 0x601000, AcceptMemory.Order.ACCEPT_FIRST);
    assertThatThrownBy(() -> TdScenario.run(vmm, accept)).isInstanceOf(Vmm.VmmException.class);
    assertThat(violations())
        .anyMatch(v -> v.startsWith("VM 1: the S-EPT lacks MappedTable[gfn=1536, level=LEVEL_2M"));
  }

  @Test
  void aTdThatTheCheckerIsNotToldOf() {
    Vmm other = host.bootWithLeafs(1);
    assertThat(
            HostInvariants.violations(host.tdx(), List.of(vmm)).stream()
                .filter(v -> v.contains("pages")))
        .as("a TD that the checker is not told of")
        .isNotEmpty();
    assertThat(HostInvariants.violations(host.tdx(), List.of(vmm, other))).isEmpty();
  }

  @ParameterizedTest
  @EnumSource(names = {"PAGES_4K", "PAGES_2M", "PAGES_1G"})
  void aWrongStatistic(VmStat stat) {
    long real = vmm.kvm().stats().get(stat);
    vmm.kvm().stats().add(stat, 1);
    assertThat(violations())
        .containsExactly("VM 1: %s is %d, but there are %d".formatted(stat, real + 1, real));
  }

  @Test
  void aRefcountWithoutAUser() {
    long range = tdr & -512;
    long users = host.tdx().dpamt().refcount(tdr);
    assertThat(host.tdx().dpamt().get(tdr).isError()).isFalse();
    assertThat(violations())
        .containsExactly(
            "the range at pfn 0x%x has %d users, refcount %d".formatted(range, users, users + 1));
  }

  @Test
  void aPairWithoutARefcount() {
    long range = 300 * 512;
    seamcall(
        SeamRegs.leaf(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)
            .rcx(range << 12 | 1)
            .rdx(newPage(PageOwner.PAMT_PAGE) << 12)
            .r8(newPage(PageOwner.PAMT_PAGE) << 12));
    int pairs = host.tdx().module().view().pamtPairs().size();
    assertThat(violations())
        .containsExactly(
            "the range at pfn 0x%x has a pair, refcount 0".formatted(range),
            "%d pairs counted, the module has %d".formatted(pairs - 1, pairs));
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "FREE")
  void aPageWithoutAReason(PageOwner owner) {
    newPage(owner);
    assertThat(violations())
        .hasSize(2)
        .anyMatch(v -> v.startsWith(owner.tag() + " has "))
        .anyMatch(v -> v.startsWith("free has "));
  }

  @Test
  void aLockThatIsHeld() {
    vmm.kvm().mmuLock().lock(LockMode.SHARED);
    assertThatThrownBy(this::violations)
        .hasMessage("lock held at a check of the invariants: mmu_lock (read)");
    vmm.kvm().mmuLock().unlock(LockMode.SHARED);
  }

  @Test
  void aVmThatIsBugged() {
    vmm.kvm().bugOn(true, "the test says so");
    assertThat(violations()).singleElement().asString().contains("KVM_BUG_ON(the test says so)");
  }

  @Test
  void anObjectThatIsLeaked() {
    host.close(vmm);
    host.assertNothingIsLeft();
    assertThat(host.pages().allocObject("kvm_mmu_page_header", Gfp.KERNEL)).isTrue();
    assertThatThrownBy(host::assertNothingIsLeft)
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("kvm_mmu_page_header");
  }

  @Test
  void aPageThatIsLeaked() {
    host.close(vmm);
    newPage(PageOwner.PAMT_CACHE);
    assertThatThrownBy(host::assertNothingIsLeft)
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("PAMT_CACHE=1");
  }

  @Test
  void theExtension_failsATestThatLeavesSomethingWrong() {
    vmm.kvm().stats().add(VmStat.PAGES_1G, 1);
    assertThatThrownBy(() -> host.afterEach(mock(ExtensionContext.class)))
        .isInstanceOf(AssertionError.class)
        .hasMessageContaining("pages_1g is 1, but there are 0");
  }
}
