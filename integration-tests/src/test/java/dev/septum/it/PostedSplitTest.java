package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.fault;
import static dev.septum.it.TdScenario.leafs2M;
import static dev.septum.it.TdScenario.split;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.RetPf;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** What only the posted design does in a split in which no SEAMCALL fails. */
final class PostedSplitTest {

  @RegisterExtension final TdScenario host = TdScenario.scattered(TdxDesign.POSTED_V3);

  @Test
  void t19_thePairOfTheSeptPageFollowsTrack() {
    Vmm vmm = host.bootWithLeafs(1);
    assertThat(host.orderOf(() -> assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK)))
        .containsExactly(
            SeamcallLeaf.TDH_MEM_RANGE_BLOCK,
            SeamcallLeaf.TDH_MEM_TRACK,
            SeamcallLeaf.TDH_PHYMEM_PAMT_ADD,
            SeamcallLeaf.TDH_MEM_PAGE_DEMOTE);
  }

  @Test
  void s9_aLostRace_burnsItsPair() {
    Vmm vmm = host.bootWithLeafs(1);
    long[] other = host.otherWinsTheNextGet();

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(vmm.kvm().splitCacheCount()).isZero();
    assertThat(host.count(PamtCounter.LOST_RACES)).isEqualTo(1);
    assertThat(host.tdx().dpamt().refcount(other[0])).isEqualTo(2);
    host.tdx().dpamt().put(other[0]);
  }

  @Test
  void t13_s10_aPutOnItsWayOut_leavesItsPairToTheSplit() {
    Vmm vmm = host.bootWithLeafs(1);
    TwoSteps putThenSplit = new TwoSteps(host.kernel());
    TwoSteps splitThenPut = new TwoSteps(host.kernel());
    List<KernelThread> put = new ArrayList<>();
    long[] other = new long[1];
    // Four topups take the cache's lock, then the get of the S-EPT page does.
    host.kernel()
        .before(
            LockClass.PREALLOC_SPLIT_CACHE_LOCK,
            5,
            () -> {
              other[0] = host.unbackedSeptPage() + 1;
              put.add(
                  host.kernel()
                      .spawn("put", () -> getAndPutSlowly(other[0], putThenSplit, splitThenPut)));
              putThenSplit.awaitFirst();
            });

    assertThat(split(vmm, 0x210, 0x220)).isEqualTo(Errno.OK);
    splitThenPut.finishFirst();
    put.forEach(KernelThread::join);

    assertThat(host.count(PamtCounter.PAIRS_RESCUED)).isEqualTo(1);
    assertThat(host.tdx().dpamt().refcount(other[0])).isEqualTo(1);
    assertThat(vmm.kvm().splitCacheCount()).isZero();
  }

  /** A put whose count is at 0 and that gets no further until the split is done. */
  private void getAndPutSlowly(long page, TwoSteps putThenSplit, TwoSteps splitThenPut) {
    assertThat(host.tdx().dpamt().get(page)).isEqualTo(Errno.OK);
    host.kernel()
        .before(
            LockClass.PAMT_LOCK,
            () -> {
              putThenSplit.finishFirst();
              splitThenPut.awaitFirst();
            });
    host.tdx().dpamt().put(page);
  }

  @Test
  void s18_aSplitUnderTheReadLock_isRefusedAndTheErrorLost() {
    Vmm vmm = host.bootWithLeafs(1);
    TdSnapshot before = host.snapshot();

    assertThat(
            host.orderOf(
                () -> assertThat(split(vmm, 0x210, 0x220, LockMode.SHARED)).isEqualTo(Errno.ONE)))
        .isEmpty();

    assertThat(before.without("split cache", "pages"))
        .isEqualTo(host.snapshot().without("split cache", "pages"));
    assertThat(vmm.kvm().splitCacheCount()).isEqualTo(4);
  }

  @Test
  void s18_d9_aFaultThatMeetsALeaf_isToldToTryAgainEachTime() {
    Vmm vmm = host.bootWithLeafs(1);
    requireNonNull(vmm.kvm().mmu().memslots().find(GFN)).setGuestInhibit(GFN, PageLevel.LEVEL_2M);
    for (int i = 0; i < 3; i++) {
      assertThat(fault(vmm, GFN + 1).result()).isEqualTo(RetPf.RETRY);
    }
    assertThat(leafs2M(vmm)).containsExactly(GFN);
  }
}
