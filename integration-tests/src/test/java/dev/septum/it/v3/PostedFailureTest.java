package dev.septum.it.v3;

import static dev.septum.it.v3.PostedHost.GFN;
import static dev.septum.it.v3.PostedHost.SECOND_SLOT;
import static dev.septum.it.v3.PostedHost.one2M;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.SplitDesign;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxStatus;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** What the posted design makes of failures, and which invariants the checkers then find broken. */
final class PostedFailureTest {

  private static final long BUSY = TdxStatus.TDX_OPERAND_BUSY;

  private static void fail(PostedHost host, SeamcallLeaf leaf, long nth, long status) {
    host.tdx.module().injector().failNext(leaf, nth, status);
  }

  private static void assertBugged(PostedHost host, String expression) {
    assertThat(host.kvm().isBugged()).isTrue();
    assertThat(String.valueOf(host.kvm().splat())).contains("KVM_BUG_ON(" + expression);
  }

  /** What the checkers say about a split that the mirror has and the S-EPT has not. */
  private static void assertMirrorIsAhead(PostedHost host) {
    List<String> violations = host.violations();
    assertThat(violations)
        .filteredOn(v -> v.startsWith("VM 1: the S-EPT lacks Leaf["))
        .hasSize(512);
    assertThat(violations)
        .filteredOn(v -> v.startsWith("VM 1: the S-EPT lacks MappedTable["))
        .hasSize(1);
    assertThat(violations)
        .filteredOn(v -> v.startsWith("VM 1: the mirror lacks Leaf[gfn=512, level=LEVEL_2M,"))
        .hasSize(1);
  }

  @Test
  void t9_d2_demoteBusyOnce_withAnUnbackedSeptPage_bugsTheVm() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    long removes = host.tdx.module().callsOf(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE);
    fail(host, SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, BUSY);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertBugged(host, "SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_SW_ERROR)");
    assertThat(host.count(TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    // The second try found no pages, so the module never saw it.
    assertThat(host.splitCalls()).containsEntry(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1L);
    assertThat(host.tdx.module().callsOf(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE) - removes)
        .isEqualTo(1);
    assertThat(host.kvm().splitCacheCount()).isZero();
    assertThat(host.sept()).isEqualTo(one2M(SeptState.BLOCKED));
    assertMirrorIsAhead(host);
  }

  @Test
  void t9_demoteBusyOnce_withABackedSeptPage_getsByWithFourPages() {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);
    fail(host, SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, BUSY);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.splitCalls()).containsEntry(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 2L);
    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(4);
    assertThat(host.kvm().splitCacheCount()).isZero();
    host.assertSound();
  }

  @ParameterizedTest
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK"})
  void t10_s8_busyOnceBeforeDemote_movesNoPages(SeamcallLeaf leaf) {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);
    fail(host, leaf, 1, BUSY);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.splitCalls()).containsEntry(leaf, 2L);
    assertThat(host.count(TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    assertThat(host.count(TdxCounter.SPLIT_CACHE_PAGES_OUT)).isEqualTo(2);
    host.assertSound();
  }

  @ParameterizedTest
  @CsvSource({
    "TDH_MEM_RANGE_BLOCK, MAPPED, 4",
    "TDH_MEM_TRACK, BLOCKED, 4",
    "TDH_MEM_PAGE_DEMOTE, BLOCKED, 0",
  })
  void s8_d5_busyTwice_bugsTheVm_andTheLeafStaysAsItIs(
      SeamcallLeaf leaf, SeptState state, int cached) {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);
    fail(host, leaf, 1, BUSY);
    fail(host, leaf, 2, BUSY);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertBugged(host, "SEAMCALL %s failed: TDX_OPERAND_BUSY".formatted(leaf));
    assertThat(host.sept()).isEqualTo(one2M(state));
    assertThat(host.kvm().splitCacheCount()).isEqualTo(cached);
    assertThat(host.leafs4K(GFN, GFN + 512)).isEqualTo(512);
    assertMirrorIsAhead(host);
    assertThat(host.share(0x410, 0x420)).as("any later ioctl").isEqualTo(Errno.EIO);
  }

  @Test
  void t11_s11_aRefusedPamtAdd_isSuccess_untilDemoteIsRefused_andTheCountIsMinusOne() {
    PostedHost host = PostedHost.scattered().accept2M(GFN, 1);
    fail(host, SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, TdxStatus.TDX_PAGE_NOT_FREE);

    assertThat(host.split(0x210, 0x220)).isEqualTo(Errno.OK);

    assertBugged(host, "SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_MISSING_PAMT_PAGE_PAIR");
    assertThat(host.splitCalls()).containsEntry(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1L);
    assertThat(host.tdx.dpamt().refcounts().values()).filteredOn(count -> count < 0).hasSize(1);
    assertThat(host.violations())
        .filteredOn(v -> v.endsWith(" users, refcount -1") || v.endsWith(" pair, refcount -1"))
        .hasSize(2);
    assertMirrorIsAhead(host);
  }

  @Test
  void s13_aRefusedPamtRemove_leavesACountWithoutAUser() {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);
    long pfn = host.pfn();
    assertThat(host.share(0x210, 0x220)).isEqualTo(Errno.OK);
    fail(host, SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, 1, BUSY);

    assertThat(host.share(GFN, GFN + 512)).isEqualTo(Errno.OK);

    assertThat(host.tdx.dpamt().stuckRanges()).containsExactly(pfn);
    assertThat(host.violations())
        .containsExactly("the range at pfn 0x%x has 0 users, refcount 1".formatted(pfn));
  }

  @Test
  void t17_d1_attributesWithoutMemory_becomeShared_andTheMappingStaysPrivate() {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 1);
    long zapped = host.count(MmuCounter.SMALL_LEAFS_ZAPPED);

    assertThat(host.share(0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(host.isPrivate(0x210)).isFalse();
    assertThat(host.isPrivate(0x20f)).isTrue();
    assertThat(host.sept()).isEqualTo(one2M(SeptState.MAPPED));
    assertThat(host.leafs2M()).containsExactly(GFN);
    assertThat(host.count(MmuCounter.SMALL_LEAFS_ZAPPED)).isEqualTo(zapped);
    assertThat(host.violations())
        .containsExactly("VM 1: the mirror leaf at gfn 0x200 maps shared frames");
  }

  @Test
  void s16_d1_aHoleWhoseSplitFails_isNotPunched_andNoErrorReturned() {
    PostedHost host = PostedHost.packed().accept2M(GFN, 1);
    host.pages().faults().failNext(PageOwner.MMU_PAGE_TABLE.tag(), 1);

    Errno error = host.vmm.files().get(0).punchHole(0x210, 0x220);

    assertThat(error.code()).isEqualTo(1);
    assertThat(host.vmm.files().get(0).pfnAt(0x210)).isNotEqualTo(PageAllocator.NO_PAGE);
    assertThat(host.leafs2M()).containsExactly(GFN);
    host.assertSound();
  }

  /** The tail of the range is in the second slot, and its split has no memory. */
  private static PostedHost twoSlots(TdxDesign design) {
    PostedHost host = new PostedHost(design, Placement.SEQUENTIAL, 1L << 30);
    host.accept2M(SECOND_SLOT - 512, 2);
    host.pages().faults().failNext(PageOwner.EXTERNAL_PAGE_TABLE.tag(), 2);
    return host;
  }

  @Test
  void s15_theErrorLost_onlyTheFirstSlotIsZapped_andBothBecomeShared() {
    PostedHost host = twoSlots(TdxDesign.POSTED_V3);

    assertThat(host.share(SECOND_SLOT - 16, SECOND_SLOT + 16)).isEqualTo(Errno.OK);

    assertThat(host.leafs4K(SECOND_SLOT - 512, SECOND_SLOT)).isEqualTo(512 - 16);
    assertThat(host.leafs2M()).containsExactly(SECOND_SLOT);
    assertThat(host.isPrivate(SECOND_SLOT - 1)).isFalse();
    assertThat(host.isPrivate(SECOND_SLOT)).isFalse();
    assertThat(host.violations())
        .containsExactly("VM 1: the mirror leaf at gfn 0x800 maps shared frames");
  }

  @Test
  void s15_d4_theErrorReturned_theFirstSlotIsZappedButPrivate_andTheInvalidationNeverEnds() {
    PostedHost host =
        twoSlots(
            TdxDesign.POSTED_V3.withMmu(
                SplitDesign.POSTED_V3.withErrors(SplitDesign.Errors.RETURNED)));

    assertThat(host.share(SECOND_SLOT - 16, SECOND_SLOT + 16)).isEqualTo(Errno.ENOMEM);

    assertThat(host.leafs4K(SECOND_SLOT - 512, SECOND_SLOT)).isEqualTo(512 - 16);
    assertThat(host.isPrivate(SECOND_SLOT - 1)).isTrue();
    assertThat(host.violations())
        .containsExactly("VM 1: an invalidation was begun and never ended");
    assertThat(host.kvm().isBugged()).isFalse();
    assertThat(host.sept()).isEqualTo(Map.of());
  }
}
