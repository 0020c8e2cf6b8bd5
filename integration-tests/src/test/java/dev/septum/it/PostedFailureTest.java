package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.SECOND_SLOT;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.fault;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.setAttributes;
import static dev.septum.it.TdScenario.split;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SplitDesign;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the posted design makes of failures, and which invariants the checkers then find broken. */
final class PostedFailureTest {

  private static final long BUSY = TdxStatus.TDX_OPERAND_BUSY;

  /** Checks the host that the test chose. */
  @RegisterExtension final AfterEachCallback checks = this::check;

  private TdScenario host = TdScenario.packed(TdxDesign.POSTED_V3);

  private void check(ExtensionContext context) {
    host.afterEach(context);
  }

  private Vmm scatteredLeaf() {
    host = TdScenario.scattered(TdxDesign.POSTED_V3);
    return host.bootWithLeafs(1);
  }

  private static Map<String, Long> one2M(SeptState state) {
    return Map.of("2M " + state, 1L);
  }

  private static boolean isPrivate(Vmm vmm, long gfn) {
    return new MmuView(vmm.kvm().mmu()).isPrivate(gfn);
  }

  private static void assertBugged(Vmm vmm, String expression) {
    assertThat(vmm.kvm().isBugged()).isTrue();
    assertThat(String.valueOf(vmm.kvm().splat())).contains("KVM_BUG_ON(" + expression);
  }

  /** What the checkers say about a split that the mirror has and the S-EPT has not. */
  private static void assertMirrorIsAhead(List<String> broken) {
    assertThat(broken).filteredOn(v -> v.startsWith("VM 1: the S-EPT lacks Leaf[")).hasSize(512);
    assertThat(broken)
        .filteredOn(v -> v.startsWith("VM 1: the S-EPT lacks MappedTable["))
        .hasSize(1);
    assertThat(broken)
        .filteredOn(v -> v.startsWith("VM 1: the mirror lacks Leaf[gfn=512, level=LEVEL_2M,"))
        .hasSize(1);
  }

  @Test
  void t9_d2_demoteBusyOnce_withAnUnbackedSeptPage_bugsTheVm() {
    Vmm vmm = scatteredLeaf();
    long added = host.tdx().dpamt().pairsInstalled();
    host.injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, BUSY);

    // The second try found no pages, so the module never saw it.
    assertThat(host.orderOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .containsExactly(
            SeamcallLeaf.TDH_MEM_RANGE_BLOCK,
            SeamcallLeaf.TDH_MEM_TRACK,
            SeamcallLeaf.TDH_PHYMEM_PAMT_ADD,
            SeamcallLeaf.TDH_MEM_PAGE_DEMOTE,
            SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE);

    assertBugged(vmm, "SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_SW_ERROR)");
    assertThat(count(vmm, TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
    assertThat(host.tdx().dpamt().pairsInstalled()).isEqualTo(added);
    assertThat(host.sept(vmm)).isEqualTo(one2M(SeptState.BLOCKED));
    assertMirrorIsAhead(host.brokenInvariants());
  }

  @Test
  void t9_demoteBusyOnce_withABackedSeptPage_getsByWithFourPages() {
    Vmm vmm = host.bootWithLeafs(1);
    host.injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, BUSY);

    assertThat(host.callsOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .isEqualTo(
            Map.of(
                SeamcallLeaf.TDH_MEM_RANGE_BLOCK, 1L,
                SeamcallLeaf.TDH_MEM_TRACK, 1L,
                SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 2L));

    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  @ParameterizedTest
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK"})
  void t10_s8_busyOnceBeforeDemote_movesNoPages(SeamcallLeaf leaf) {
    Vmm vmm = host.bootWithLeafs(1);
    host.injector().failNext(leaf, 1, BUSY);

    assertThat(host.callsOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .containsEntry(leaf, 2L)
        .containsEntry(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1L);

    assertThat(count(vmm, TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    assertThat(count(vmm, TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(2);
  }

  @ParameterizedTest
  @CsvSource({
    "TDH_MEM_RANGE_BLOCK, MAPPED, 4",
    "TDH_MEM_TRACK, BLOCKED, 4",
    "TDH_MEM_PAGE_DEMOTE, BLOCKED, 0",
  })
  void s8_d5_busyTwice_bugsTheVm_andTheLeafStaysAsItIs(
      SeamcallLeaf leaf, SeptState state, int cached) {
    Vmm vmm = host.bootWithLeafs(1);
    host.injector().failNext(leaf, 1, BUSY);
    host.injector().failNext(leaf, 2, BUSY);

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);

    assertBugged(vmm, "SEAMCALL %s failed: TDX_OPERAND_BUSY".formatted(leaf));
    assertThat(host.sept(vmm)).isEqualTo(one2M(state));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(cached);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertMirrorIsAhead(host.brokenInvariants());
    assertThat(setAttributes(vmm, 0x410, 0x420, false)).as("any later ioctl").isEqualTo(Errno.EIO);
  }

  @Test
  void t11_s11_aRefusedPamtAdd_isSuccess_untilDemoteIsRefused_andTheCountIsMinusOne() {
    Vmm vmm = scatteredLeaf();
    host.injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, TdxStatus.TDX_PAGE_NOT_FREE);

    assertThat(host.callsOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .containsEntry(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1L);

    assertBugged(vmm, "SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_MISSING_PAMT_PAGE_PAIR");
    assertThat(host.tdx().dpamt().refcounts().values()).filteredOn(count -> count < 0).hasSize(1);
    List<String> broken = host.brokenInvariants();
    assertThat(broken)
        .filteredOn(v -> v.endsWith(" users, refcount -1") || v.endsWith(" pair, refcount -1"))
        .hasSize(2);
    assertMirrorIsAhead(broken);
  }

  /** What the module kept makes the range unfit for 2M: the next user of that folio finds out. */
  @Test
  void s13_aRefusedPamtRemove_leavesTheRangeFor4KPagesOnly() {
    Vmm vmm = host.bootWithLeafs(1);
    long pfn = TdScenario.pfnOf(vmm, GFN);
    assertThat(TdScenario.share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    host.injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, 1, BUSY);

    assertThat(TdScenario.share(vmm, GFN, GFN + 512)).isEqualTo(Errno.OK);

    assertThat(host.tdx().dpamt().stuckRanges()).containsExactly(pfn);
    assertThat(host.brokenInvariants())
        .containsExactly("the range at pfn 0x%x has 0 users, refcount 1".formatted(pfn));
    // The lowest free folio is the next one to be handed out.
    assertThatThrownBy(() -> TdScenario.accept2M(vmm, 0x600, 1))
        .isInstanceOf(Vmm.VmmException.class)
        .hasMessageContaining("EIO");
    assertThat(String.valueOf(vmm.kvm().splat())).contains("TDH_MEM_PAGE_AUG");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table", "pamt_cache"})
  void t17_d1_attributesWithoutMemory_becomeShared_andTheMappingStaysPrivate(String place) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(place, 1);

    assertThat(
            host.callsOf(
                () -> assertThat(setAttributes(vmm, 0x210, 0x220, false)).isEqualTo(Errno.OK)))
        .isEmpty();

    assertThat(isPrivate(vmm, 0x210)).isFalse();
    assertThat(isPrivate(vmm, 0x20f)).isTrue();
    assertThat(before.diffTo(host.snapshot()))
        .as("a flush, and nothing that it could be for")
        .containsExactlyInAnyOrder(
            "- stats VM 1 remote_tlb_flush_requests: 0",
            "+ stats VM 1 remote_tlb_flush_requests: 1");
    assertThat(host.sept(vmm)).isEqualTo(one2M(SeptState.MAPPED));
    assertThat(host.brokenInvariants())
        .containsExactly("VM 1: the mirror leaf at gfn 0x200 maps shared frames");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table", "pamt_cache"})
  void s16_d1_aHoleWhoseSplitFails_isNotPunched_andNoErrorReturned(String place) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(place, 1);

    assertThat(vmm.files().get(0).punchHole(0x210, 0x220).code()).isEqualTo(1);

    assertThat(before.diffTo(host.snapshot())).isEmpty();
    assertThat(vmm.files().get(0).pfnAt(0x210)).isNotEqualTo(PageAllocator.NO_PAGE);
  }

  /** No error can come back on the write path, so the file gives away what the module still has. */
  @Test
  void s16_d5_aHoleWhoseDemoteFails_isPunchedAllTheSame() {
    Vmm vmm = host.bootWithLeafs(1);
    long pfn = TdScenario.pfnOf(vmm, 0x210);
    host.injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_INVALID);

    assertThat(vmm.files().get(0).punchHole(0x210, 0x220)).isEqualTo(Errno.OK);

    assertBugged(vmm, "SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_OPERAND_INVALID");
    assertThat(vmm.files().get(0).pfnAt(0x210)).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(host.pages().ownerOf(pfn)).isEqualTo(PageOwner.FREE);
    assertThat(host.sept(vmm))
        .as("it is the TD's all the same")
        .isEqualTo(one2M(SeptState.BLOCKED));
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512 - 16);
    assertThat(host.brokenInvariants())
        .contains(
            "VM 1: the leaf at gfn 0x200 is BLOCKED",
            "VM 1: the leaf at gfn 0x200 still has pages that the host took for other uses");
  }

  /** The tail of the range is in the second slot, and its split has no memory. */
  private Vmm twoSlots(TdxDesign design) {
    host = TdScenario.packed(design);
    Vmm vmm = host.bootTwoSlots();
    TdScenario.accept2M(vmm, SECOND_SLOT - 512, 2);
    host.pages().faults().failNext(PageOwner.EXTERNAL_PAGE_TABLE.tag(), 2);
    return vmm;
  }

  @Test
  void s15_theErrorLost_onlyTheFirstSlotIsZapped_andBothBecomeShared() {
    Vmm vmm = twoSlots(TdxDesign.POSTED_V3);

    assertThat(setAttributes(vmm, SECOND_SLOT - 16, SECOND_SLOT + 16, false)).isEqualTo(Errno.OK);

    assertThat(leafs4K(vmm, SECOND_SLOT - 512, SECOND_SLOT)).isEqualTo(512 - 16);
    assertThat(leafs2M(vmm)).containsExactly(SECOND_SLOT);
    assertThat(isPrivate(vmm, SECOND_SLOT - 1)).isFalse();
    assertThat(isPrivate(vmm, SECOND_SLOT)).isFalse();
    assertThat(count(vmm, MmuCounter.SMALL_LEAFS_ZAPPED)).isEqualTo(16);
    assertThat(host.brokenInvariants())
        .containsExactly("VM 1: the mirror leaf at gfn 0x800 maps shared frames");
  }

  @Test
  void s15_d4_theErrorReturned_theFirstSlotIsZappedButPrivate_andTheInvalidationNeverEnds() {
    Vmm vmm =
        twoSlots(
            TdxDesign.POSTED_V3.withMmu(
                SplitDesign.POSTED_V3.withErrors(SplitDesign.Errors.RETURNED)));

    assertThat(setAttributes(vmm, SECOND_SLOT - 16, SECOND_SLOT + 16, false))
        .isEqualTo(Errno.ENOMEM);

    assertThat(leafs4K(vmm, SECOND_SLOT - 512, SECOND_SLOT)).isEqualTo(512 - 16);
    assertThat(isPrivate(vmm, SECOND_SLOT - 1)).isTrue();
    assertThat(vmm.kvm().isBugged()).isFalse();
    // The zapped page is private still, and no fault can bring it back.
    for (int i = 0; i < 3; i++) {
      assertThat(fault(vmm, SECOND_SLOT - 1).result()).isEqualTo(RetPf.RETRY);
    }
    assertThat(host.brokenInvariants())
        .containsExactly("VM 1: an invalidation was begun and never ended");
  }
}
