package dev.septum.it;

import static dev.septum.it.TdScenario.GFN;
import static dev.septum.it.TdScenario.count;
import static dev.septum.it.TdScenario.leafs4K;
import static dev.septum.it.TdScenario.split;
import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/**
 * Two TDs of the posted design in one 2 MiB range (defect f): the pages that one gives to DEMOTE
 * lie where the other has PAMT.ADD install a pair.
 */
final class PostedTwoTdsTest {

  @RegisterExtension final TdScenario host = TdScenario.packed(TdxDesign.POSTED_V3);

  private final Vmm splitting = host.bootWithLeafs(1);

  /** A page of the other TD, in the range of the first one's cached pages, which has no pair. */
  private long page;

  @BeforeEach
  void fillTheCacheFromARangeWithoutAPair() {
    List<Long> inTheWay = new ArrayList<>();
    page = host.pages().allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL_ACCOUNT);
    while (host.tdx().dpamt().refcount(page) != 0) {
      inTheWay.add(page);
      page = host.pages().allocPage(PageOwner.TD_CONTROL, Gfp.KERNEL_ACCOUNT);
    }
    assertThat(
            splitting.kvm().ops().topupExternalPerVmSplitCache(splitting.kvm(), PageLevel.LEVEL_2M))
        .isEqualTo(Errno.OK);
    inTheWay.forEach(pfn -> host.pages().freePage(pfn, PageOwner.TD_CONTROL));
  }

  private void onAnotherThread(Runnable body) {
    host.kernel().spawn("other", body).join();
  }

  private Errno get() {
    return host.tdx().dpamt().get(page);
  }

  @Test
  void s19_t14_demoteLoses_bothTriesMeetTheAdd_andTheVmIsBugged() {
    host.injector()
        .on(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)
        .next(1)
        .meanwhile(
            () ->
                onAnotherThread(
                    () -> assertThat(split(splitting, 0x210, 0x220)).isEqualTo(Errno.OK)));

    assertThat(get()).isEqualTo(Errno.OK);

    assertThat(host.tdx().dpamt().refcount(page)).isEqualTo(1);
    assertThat(String.valueOf(splitting.kvm().splat()))
        .contains("KVM_BUG_ON(SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_OPERAND_BUSY");
    // Kicking its own vCPUs could not help: the other one's were in the way.
    assertThat(count(splitting, TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    assertThat(host.calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(2);
    assertThat(host.sept(splitting)).isEqualTo(Map.of("2M " + SeptState.BLOCKED, 1L));
    assertThat(leafs4K(splitting, GFN, GFN + 512)).isEqualTo(512);
    assertThat(splitting.kvm().splitCacheCount()).isZero();
    assertThat(host.brokenInvariants())
        .anyMatch(v -> v.startsWith("VM 1 is bugged: "))
        .filteredOn(v -> v.startsWith("VM 1: the S-EPT lacks "))
        .hasSize(512 + 1);
  }

  @Test
  void s19_t14_addLoses_itsGetIsSuccessAllTheSame_andNothingIsInstalled() {
    long pairs = host.tdx().dpamt().pairsInstalled();
    List<Errno> got = new ArrayList<>();
    host.injector()
        .on(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)
        .next(1)
        .meanwhile(() -> onAnotherThread(() -> got.add(get())));

    assertThat(split(splitting, 0x210, 0x220)).isEqualTo(Errno.OK);

    assertThat(got).containsExactly(Errno.OK);
    assertThat(host.count(PamtCounter.ADD_FAILURES)).isEqualTo(1);
    assertThat(host.tdx().dpamt().refcount(page)).as("no pair, and a user").isZero();
    assertThat(host.tdx().dpamt().pairsInstalled()).isEqualTo(pairs + 1);
    assertThat(host.sept(splitting)).isEqualTo(Map.of("4K " + SeptState.MAPPED, 512L));
    host.pages().freePage(page, PageOwner.TD_CONTROL);
  }
}
