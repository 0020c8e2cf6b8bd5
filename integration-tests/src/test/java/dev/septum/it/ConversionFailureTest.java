package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.pfnOf;
import static dev.septum.it.TdScenario.share;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A conversion of the sound design that fails: an error, and the memory as it was. */
final class ConversionFailureTest {

  private static final List<String> PLACES =
      List.of("kvm_mmu_page_header", "mmu_page_table", "external_page_table", "pamt_cache");

  @RegisterExtension final TdScenario host = TdScenario.packed();

  private MmuView mmu(Vmm vmm) {
    return new MmuView(vmm.kvm().mmu());
  }

  /** Without memory for the split, the attribute stays, the mapping stays (no D1). */
  @Test
  void t17_withoutMemory_isEnomem_andTheMemoryIsPrivateAndMappedAsBefore() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 1);

    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.ENOMEM);
    assertThat(before.diffTo(host.snapshot())).isEmpty();
    assertThat(mmu(vmm).isPrivate(0x210)).isTrue();
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
  }

  @Test
  void everyAllocationOfAConversion_failsOnce_andNothingIsLostOrHalfDone() {
    for (String place : PLACES) {
      boolean failed = true;
      for (int n = 1; failed; n++) {
        assertThat(n).as("failures at %s", place).isLessThan(20);
        failed = conversionWithFailure(place, n);
        assertThat(failed || n > 1).as("%s is allocated in a conversion", place).isTrue();
      }
    }
  }

  /** Converts [0x210, 0x620) of a new TD with allocation n at a place failing; whether it did. */
  private boolean conversionWithFailure(String place, int n) {
    Vmm vmm = host.bootWithLeafs(3);
    TdSnapshot before = host.snapshot();
    long failures = host.pages().faults().failures();
    host.pages().faults().failNext(place, n);

    Errno error = share(vmm, 0x210, 0x620);
    boolean failed = host.pages().faults().failures() > failures;
    host.pages().faults().clear();
    assertThat(error).as("%s %s", place, n).isEqualTo(failed ? Errno.ENOMEM : Errno.OK);
    host.checkInvariants();
    if (failed) {
      long splits = count(vmm, MmuCounter.MIRROR_SPLITS);
      assertThat(leafs2M(vmm))
          .isEqualTo(splits == 0 ? List.of(0x200L, 0x400L, 0x600L) : List.of(0x400L, 0x600L));
      assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512 * splits);
      if (splits == 0) {
        assertThat(before.without("split cache", "pages"))
            .isEqualTo(host.snapshot().without("split cache", "pages"));
      }
      assertThat(mmu(vmm).isPrivate(0x210)).isTrue();
      assertThat(mmu(vmm).isPrivate(0x400)).isTrue();
      assertThat(share(vmm, 0x210, 0x620)).isEqualTo(Errno.OK);
    }
    assertThat(leafs2M(vmm)).isEmpty();
    assertThat(leafs4K(vmm, 0x210, 0x620)).isZero();
    host.close(vmm);
    return failed;
  }

  @Test
  void s15_twoSlots_withoutMemoryForTheSecond_leaveBothMapped() {
    Vmm vmm =
        host.boot(
            TdScenario.layout(
                1, new TdLayout.Region(0, 8 * MIB), new TdLayout.Region(8 * MIB, 16 * MIB)));
    TdScenario.accept2M(vmm, 0x600, 2);
    host.pages().faults().failNext(PageOwner.EXTERNAL_PAGE_TABLE.tag(), 2);

    // The head is cut in the first slot, the tail in the second.
    assertThat(share(vmm, 0x610, 0x820)).isEqualTo(Errno.ENOMEM);
    assertThat(leafs2M(vmm)).containsExactly(0x800L);
    assertThat(leafs4K(vmm, 0x600, 0x800)).as("split, and all there").isEqualTo(512);
    assertThat(mmu(vmm).isPrivate(0x610)).isTrue();
    assertThat(mmu(vmm).isPrivate(0x800)).isTrue();
    assertThat(count(vmm, MmuCounter.SMALL_LEAFS_ZAPPED)).isZero();

    assertThat(share(vmm, 0x610, 0x820)).isEqualTo(Errno.OK);
    assertThat(leafs4K(vmm, 0x600, 0xa00)).isEqualTo(0x10 + 0x1e0);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"kvm_mmu_page_header", "mmu_page_table", "external_page_table", "pamt_cache"})
  void s16_aHoleWhoseSplitFails_isNotPunched(String place) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.pages().faults().failNext(place, 1);

    assertThat(vmm.files().get(0).punchHole(0x210, 0x220)).isEqualTo(Errno.ENOMEM);
    assertThat(before.diffTo(host.snapshot())).isEmpty();
    assertThat(pfnOf(vmm, 0x210)).isNotEqualTo(PageAllocator.NO_PAGE);
    assertThat(vmm.files().get(0).punchHole(0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(pfnOf(vmm, 0x210)).isEqualTo(PageAllocator.NO_PAGE);
  }

  /** The pages come back to the cache, so a later attempt needs no new ones (no D2, no D5). */
  @ParameterizedTest(name = "{0} BUSY twice")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void s8_busyTwice_isEbusy_andOnlyTheCacheIsFuller(SeamcallLeaf leaf) {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_BUSY);
    host.injector().failNext(leaf, 2, TdxStatus.TDX_OPERAND_BUSY);

    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.EBUSY);
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4);
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN)).isEqualTo(4);
  }

  @Test
  void s8_refused_isEio_andTheTdGoesOn() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();
    host.injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_INVALID);
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.EIO);
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(vmm.kvm().isBugged()).isFalse();
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
  }
}
