package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A split whose new S-EPT page is the first 4K page of its range: it installs a second pair. */
final class UnbackedLeafSplitterTest extends TdTestCase {

  private final Vmm vmm = boot();
  private final KvmTdx kvm = vmm.kvm();

  UnbackedLeafSplitterTest() {
    super(TdxModuleConfig.defaults(), Placement.SCATTERED);
  }

  @BeforeEach
  void mapOneLeafAndFillTheCache() {
    accept2M(vmm, GFN, 1);
    assertThat(kvm.splitCache().topup(PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
  }

  private Errno split() {
    return split(kvm, GFN + 0x10, LockMode.EXCLUSIVE);
  }

  @Test
  void split_usesAllFourPages() {
    long added = tdx.dpamt().counters().get(PamtCounter.PAIRS_ADDED);
    assertThat(split()).isEqualTo(Errno.OK);
    assertThat(kvm.splitCacheCount()).isZero();
    assertThat(tdx.dpamt().counters().get(PamtCounter.PAIRS_ADDED)).isEqualTo(added + 1);
    assertThat(tdx.dpamt().counters().get(PamtCounter.PAIRS_DEMOTED)).isEqualTo(1);
    assertThat(tdx.dpamt().refcount(mirrorLeaf(kvm, GFN).pfn())).isEqualTo(512);
  }

  @Test
  void demoteBusyOnce_stillGetsByWithFourPages() {
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_BUSY);
    assertThat(split()).isEqualTo(Errno.OK);
    assertThat(kvm.splitCacheCount()).isZero();
    assertThat(kvm.isBugged()).isFalse();
  }

  @ParameterizedTest
  @ValueSource(
      longs = {
        TdxStatus.TDX_OPERAND_BUSY,
        TdxStatus.TDX_HPA_RANGE_NOT_FREE,
        TdxStatus.TDX_OPERAND_INVALID
      })
  void pamtAddFails_isEioBeforeAnythingIsBlocked(long status) {
    WholeState before = state(kvm);
    injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, status);

    assertThat(split()).isEqualTo(Errno.EIO);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero();
    assertThat(kvm.isBugged()).isFalse();
    assertThat(split()).isEqualTo(Errno.OK);
  }

  @ParameterizedTest(name = "{0} refused")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void laterFailure_putsBothPairsBackIntoTheCache(SeamcallLeaf leaf) {
    WholeState before = state(kvm);
    injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_INVALID);

    assertThat(split()).isEqualTo(Errno.EIO);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(kvm.isBugged()).isFalse();
    assertThat(split()).isEqualTo(Errno.OK);
    assertThat(kvm.splitCacheCount()).isZero();
  }

  @Test
  void pamtRemoveFailsWhileUndoing_leavesTheRangeBackedAndTheVmWell() {
    letPagesStay();
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_INVALID);
    injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, 1, TdxStatus.TDX_OPERAND_BUSY);
    int pairs = view().pamtPairs().size();

    assertThat(split()).isEqualTo(Errno.EIO);
    assertThat(view().pamtPairs()).hasSize(pairs + 1);
    assertThat(kvm.isBugged()).isFalse();
    assertThat(split()).isEqualTo(Errno.OK);
  }
}
