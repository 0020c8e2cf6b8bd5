package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.MIB;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.pfnOf;
import static dev.septum.it.TdScenario.share;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.ConvertMemory;
import dev.septum.tdx.guest.TouchMemory;
import dev.septum.tdx.module.AccessKind;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Private memory becomes shared and private again, as long as nothing fails. */
@EachDesign
final class ConversionFlowTest {

  @RegisterExtension final TdScenario host;

  ConversionFlowTest(TdxDesign design) {
    host = TdScenario.packed(design);
  }

  private MmuView mmu(Vmm vmm) {
    return new MmuView(vmm.kvm().mmu());
  }

  private static Memslot slot(Vmm vmm) {
    return requireNonNull(vmm.kvm().mmu().memslots().find(GFN));
  }

  @Test
  void t17_aPartBecomesShared_theRestStaysPrivateAndAccepted() {
    Vmm vmm = host.bootWithLeafs(2);
    long pfn = pfnOf(vmm, GFN);

    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(leafs2M(vmm)).containsExactly(0x400L);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(496);
    assertThat(host.tdx().module().view().leafs(vmm.kvm().tdr() << 12))
        .filteredOn(leaf -> leaf.gpa() >>> 12 >= GFN && leaf.gpa() >>> 12 < GFN + 512)
        .hasSize(496)
        .allMatch(leaf -> leaf.state() == SeptState.MAPPED);
    assertThat(host.tdx().dpamt().refcount(pfn)).isEqualTo(496);
    assertThat(mmu(vmm).isMixed(slot(vmm), GFN, PageLevel.LEVEL_2M)).isTrue();
    assertThat(mmu(vmm).isMixed(slot(vmm), 0x400, PageLevel.LEVEL_2M)).isFalse();
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.MEMORY_ATTRIBUTES)).isEqualTo(1);
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.PUNCH_HOLE)).isZero();
    assertThat(count(vmm, MmuCounter.SMALL_LEAFS_ZAPPED)).isEqualTo(16);
  }

  @Test
  void t12_s12_everyPageOfASplitRangeBecomesShared_theLastOneTakesThePair() {
    Vmm vmm = host.bootWithLeafs(1);
    long pfn = pfnOf(vmm, GFN);
    for (long gfn = GFN; gfn < GFN + 511; gfn++) {
      assertThat(share(vmm, gfn, gfn + 1)).isEqualTo(Errno.OK);
      assertThat(host.tdx().dpamt().refcount(pfn)).isEqualTo(GFN + 511 - gfn);
    }
    long removes = host.calls(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE);
    assertThat(share(vmm, GFN + 511, GFN + 512)).isEqualTo(Errno.OK);
    assertThat(host.calls(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE)).isEqualTo(removes + 1);
    assertThat(host.tdx().dpamt().refcount(pfn)).isZero();
    assertThat(host.tdx().module().view().pamtPairs()).doesNotContainKey(pfn << 12);
    assertThat(mmu(vmm).isMixed(slot(vmm), GFN, PageLevel.LEVEL_2M)).isFalse();

    // The page table stays, so the range never gets a 2M leaf again.
    assertThat(vmm.convert(GFN << 12, 2 * MIB, true)).isEqualTo(Errno.OK);
    AcceptMemory accept =
        new AcceptMemory(GFN << 12, (GFN + 512) << 12, AcceptMemory.Order.ACCEPT_FIRST);
    TdScenario.run(vmm, accept);
    assertThat(accept.accepts2M()).isZero();
    assertThat(accept.accepts4K()).isEqualTo(512);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
  }

  @Test
  void aWholeLeafBecomesShared_withoutASplit() {
    Vmm vmm = host.bootWithLeafs(2);
    assertThat(share(vmm, GFN, GFN + 512)).isEqualTo(Errno.OK);
    assertThat(leafs2M(vmm)).containsExactly(0x400L);
    assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isZero();
    assertThat(count(vmm, MmuCounter.HUGE_LEAFS_ZAPPED)).isEqualTo(1);
    assertThat(pfnOf(vmm, GFN)).isEqualTo(PageAllocator.NO_PAGE);
  }

  @Test
  void punchHole_splitsWhatSticksOut_andLeavesTheMemoryPrivate() {
    Vmm vmm = host.bootWithLeafs(3);
    assertThat(vmm.files().get(0).punchHole(0x210, 0x620)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().mmu().splits().get(SplitCause.PUNCH_HOLE)).isEqualTo(2);
    assertThat(leafs2M(vmm)).isEmpty();
    assertThat(leafs4K(vmm, 0x200, 0x800)).isEqualTo(0x10 + 0x1e0);
    assertThat(count(vmm, MmuCounter.HUGE_LEAFS_ZAPPED)).isEqualTo(1);
    assertThat(mmu(vmm).isPrivate(0x300)).isTrue();
    assertThat(pfnOf(vmm, 0x400)).isEqualTo(PageAllocator.NO_PAGE);
    assertThat(pfnOf(vmm, 0x20f)).isNotEqualTo(PageAllocator.NO_PAGE);

    // The guest may accept it afresh: at 2M where no table is in the way.
    AcceptMemory accept =
        new AcceptMemory(0x210 << 12, 0x620 << 12, AcceptMemory.Order.ACCEPT_FIRST);
    TdScenario.run(vmm, accept);
    assertThat(leafs2M(vmm)).containsExactly(0x400L);
    assertThat(accept.accepts4K()).isEqualTo(0x1f0 + 0x20);
  }

  @ParameterizedTest(name = "{0} BUSY once")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void s8_busyOnce_isAConversionAsAnyOther(SeamcallLeaf leaf) {
    Vmm vmm = host.bootWithLeafs(1);
    host.injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_BUSY);
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(496);
    assertThat(vmm.kvm().counters().get(TdxCounter.BUSY_RETRIES)).isEqualTo(1);
  }

  @Test
  void aGuestsRoundtrip_privateToSharedToPrivate_throughTheDirectRoot() {
    Vmm vmm = host.bootWithLeafs(1);
    TdScenario.run(
        vmm,
        ConvertMemory.toShared(0x210 << 12, 0x220 << 12),
        new TouchMemory(
            0x210 << 12 | KvmTdx.SHARED_BIT, 0x220 << 12 | KvmTdx.SHARED_BIT, AccessKind.WRITE));
    assertThat(mmu(vmm).directLeafs())
        .hasSize(16)
        .allMatch(leaf -> leaf.level() == PageLevel.LEVEL_4K)
        .allMatch(leaf -> leaf.gfn() >= 0x210 && leaf.gfn() < 0x220);
    assertThat(vmm.sharedPages()).isEqualTo(16);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(496);

    AcceptMemory accept =
        new AcceptMemory(0x210 << 12, 0x220 << 12, AcceptMemory.Order.ACCEPT_FIRST);
    TdScenario.run(vmm, ConvertMemory.toPrivate(0x210 << 12, 0x220 << 12), accept);
    assertThat(mmu(vmm).directLeafs()).isEmpty();
    assertThat(vmm.sharedPages()).isZero();
    assertThat(accept.accepts4K()).isEqualTo(16);
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(512);
    assertThat(mmu(vmm).isMixed(slot(vmm), GFN, PageLevel.LEVEL_2M)).isFalse();
    TdScenario.run(vmm, new TouchMemory(GFN << 12, (GFN + 512) << 12, AccessKind.READ));
  }

  @Test
  void aGuestThatTouchesTheOtherKind_getsItConvertedByUserSpace() {
    Vmm vmm = host.bootWithLeafs(1);
    TdScenario.run(
        vmm,
        new TouchMemory(
            0x300 << 12 | KvmTdx.SHARED_BIT, 0x301 << 12 | KvmTdx.SHARED_BIT, AccessKind.READ));
    assertThat(mmu(vmm).isPrivate(0x300)).isFalse();
    assertThat(leafs4K(vmm, GFN, GFN + 512)).isEqualTo(511);
    assertThat(vmm.kvm().counters().get(TdxCounter.MAP_GPA_CALLS)).isZero();
  }

  @Test
  void s21_destroy_freesWhatWaitsInTheCache() {
    Vmm vmm = host.bootWithLeafs(1);
    assertThat(share(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(2);
    host.close(vmm);
    host.assertNothingIsLeft();
  }
}
