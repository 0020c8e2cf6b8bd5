package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.share;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Two TDs share a host, its page pairs and its lock on them, and nothing else. */
final class TwoTdsTest {

  @RegisterExtension final TdScenario host = TdScenario.packed();

  @Test
  void whatOneDoes_theOtherDoesNotNotice() {
    Vmm first = host.bootWithLeafs(2);
    Vmm second = host.bootWithLeafs(2);
    TdSnapshot before = TdSnapshot.of(host.tdx(), List.of(second));
    assertThat(share(first, 0x210, 0x420)).isEqualTo(Errno.OK);
    assertThat(
            before
                .without("pages", "objects", "pair", "refcount")
                .diffTo(
                    TdSnapshot.of(host.tdx(), List.of(second))
                        .without("pages", "objects", "pair", "refcount")))
        .isEmpty();
    assertThat(second.kvm().splitCacheCount()).isZero();
  }

  @Test
  void theEndOfOne_leavesTheOtherRunning() {
    Vmm first = host.bootWithLeafs(2);
    Vmm second = host.bootWithLeafs(2);
    host.close(first);
    host.checkInvariants();
    assertThat(share(second, 0x210, 0x220)).isEqualTo(Errno.OK);
    TdScenario.accept2M(second, 0x800, 1);
  }

  /** No pair lost, none added twice, no SEAMCALL in another TD's way (no defect f). */
  @Test
  void s19_splitsAndNewPairsAtOnce_neverMeetInTheModule() {
    List<Vmm> vmms = List.of(host.bootWithLeafs(7), host.bootWithLeafs(7));
    List<KernelThread> threads = new ArrayList<>();
    for (Vmm vmm : vmms) {
      threads.add(
          host.kernel()
              .spawn(
                  "TD " + vmm.kvm().id(),
                  () -> {
                    for (int i = 1; i <= 7; i++) {
                      assertThat(share(vmm, 512L * i + 1, 512L * i + 3)).isEqualTo(Errno.OK);
                    }
                  }));
    }
    threads.forEach(KernelThread::join);
    for (Vmm vmm : vmms) {
      assertThat(count(vmm, MmuCounter.MIRROR_SPLITS)).isEqualTo(7);
      assertThat(leafs4K(vmm, GFN, 0x1000)).isEqualTo(7 * 510);
      assertThat(vmm.kvm().counters().get(TdxCounter.BUSY_RETRIES)).isZero();
    }
    assertThat(host.tdx().dpamt().counters().get(PamtCounter.PAIRS_DEMOTED)).isEqualTo(14);
    assertThat(host.tdx().dpamt().counters().get(PamtCounter.ADD_FAILURES)).isZero();
  }

  @Test
  void s19_aPamtAddRightBeforeADemote_doesNotDisturbIt() {
    Vmm first = host.bootWithLeafs(1);
    assertThat(TdScenario.split(first, 0x210, 0x211)).isEqualTo(Errno.OK);
    Vmm second = host.bootWithLeafs(1);
    long demotes = host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE);
    // The second TD is about to take pamt_lock for its DEMOTE: another one gets a pair first.
    long[] page = new long[1];
    host.kernel()
        .before(
            LockClass.PAMT_LOCK,
            () -> host.kernel().spawn("other", () -> page[0] = getPair()).join());
    assertThat(TdScenario.split(second, 0x210, 0x211)).isEqualTo(Errno.OK);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(demotes + 1);
    host.tdx().dpamt().put(page[0]);
  }

  /** The other way round: PAMT.ADD comes while DEMOTE holds pamt_lock, and waits for it. */
  @Test
  void s19_t14_anAddThatMeetsADemote_waitsForIt() {
    Vmm vmm = host.bootWithLeafs(1);
    long page = host.pages().totalPages() - 1;
    TwoSteps addThenDemote = new TwoSteps(host.kernel());
    List<KernelThread> other = new ArrayList<>();
    host.injector()
        .on(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)
        .next(1)
        .meanwhile(
            () -> {
              host.kernel().before(LockClass.PAMT_LOCK, addThenDemote::finishFirst);
              other.add(host.kernel().spawn("other", () -> host.tdx().dpamt().get(page)));
              addThenDemote.awaitFirst();
              assertThat(host.tdx().dpamt().refcount(page)).isZero();
            });

    assertThat(
            host.orderOf(
                () -> {
                  assertThat(TdScenario.split(vmm, 0x210, 0x211)).isEqualTo(Errno.OK);
                  other.forEach(KernelThread::join);
                }))
        .containsExactly(
            SeamcallLeaf.TDH_MEM_RANGE_BLOCK,
            SeamcallLeaf.TDH_MEM_TRACK,
            SeamcallLeaf.TDH_MEM_PAGE_DEMOTE,
            SeamcallLeaf.TDH_PHYMEM_PAMT_ADD);
    assertThat(host.tdx().dpamt().refcount(page)).isEqualTo(1);
    assertThat(vmm.kvm().counters().get(TdxCounter.BUSY_RETRIES)).isZero();
    host.tdx().dpamt().put(page);
  }

  /** Backs a range that nobody uses. */
  private long getPair() {
    long page = host.pages().totalPages() - 1;
    assertThat(host.tdx().dpamt().get(page)).isEqualTo(Errno.OK);
    return page;
  }

  @Test
  void s11_aRefusedPamtAdd_isEio_andOnlyForTheTdThatMetIt() {
    TdScenario scattered = TdScenario.scattered();
    Vmm first = scattered.bootWithLeafs(1);
    Vmm second = scattered.bootWithLeafs(1);
    TdSnapshot before = scattered.snapshot();
    scattered.injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD, 1, TdxStatus.TDX_PAGE_NOT_FREE);

    assertThat(share(first, 0x210, 0x220)).isEqualTo(Errno.EIO);
    assertThat(before.without("split cache", "pages"))
        .isEqualTo(scattered.snapshot().without("split cache", "pages"));
    assertThat(first.kvm().isBugged()).isFalse();
    assertThat(share(second, 0x210, 0x220)).isEqualTo(Errno.OK);
    assertThat(share(first, 0x210, 0x220)).isEqualTo(Errno.OK);
    scattered.checkInvariants();
    scattered.close(first);
    scattered.close(second);
    scattered.assertNothingIsLeft();
  }

  /** What the module kept makes the range unfit for 2M: the next user of that folio finds out. */
  @Test
  void s13_aRefusedPamtRemove_leavesTheRangeFor4KPagesOnly() {
    TdScenario broken = TdScenario.packed();
    Vmm first = broken.bootWithLeafs(1);
    assertThat(share(first, 0x210, 0x220)).isEqualTo(Errno.OK);
    long pfn = TdScenario.pfnOf(first, GFN);
    broken.injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAMT_REMOVE, 1, TdxStatus.TDX_OPERAND_BUSY);

    assertThat(share(first, GFN, GFN + 512)).isEqualTo(Errno.OK);
    assertThat(first.kvm().isBugged()).isFalse();
    assertThat(broken.tdx().dpamt().refcount(pfn)).isEqualTo(1);
    assertThat(broken.tdx().module().view().pamtPairs()).containsKey(pfn << 12);
    assertThat(broken.pages().ownerOf(pfn)).isEqualTo(PageOwner.FREE);
    assertThat(HostInvariants.violations(broken.tdx(), broken.vmms()))
        .containsExactly("the range at pfn 0x%x has 0 users, refcount 1".formatted(pfn));

    // The lowest free folio is the next one to be handed out.
    assertThatThrownBy(() -> TdScenario.accept2M(first, 0x600, 1))
        .isInstanceOf(Vmm.VmmException.class)
        .hasMessageContaining("EIO");
    assertThat(String.valueOf(first.kvm().splat())).contains("TDH_MEM_PAGE_AUG");
  }
}
