package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.TdxDesign.FaultCaches;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** A vCPU's pages for a fault, in two pools and, as posted, in one stack. */
final class FaultCacheTest extends TdTestCase {

  @ParameterizedTest
  @EnumSource
  void aFullCache_hasFifteenPages_andGivesAllBack(FaultCaches kind) {
    FaultCache cache = kind.of(tdx);
    assertThat(cache.topup(5)).isEqualTo(Errno.OK);
    assertThat(cache.septPages() + cache.pamtPages().count()).isEqualTo(15);
    assertThat(cache.topup(5)).isEqualTo(Errno.OK);
    assertThat(cache.septPages() + cache.pamtPages().count()).isEqualTo(15);
    cache.free();
    assertThat(owned()).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({"POOLED, 4, 10", "MIXED, 0, 14"})
  void aSeptPage_isTakenFromItsPoolOrFromTheStack(FaultCaches kind, int sept, int pamt) {
    FaultCache cache = kind.of(tdx);
    assertThat(cache.topup(5)).isEqualTo(Errno.OK);
    long page = cache.allocSeptPage();
    assertThat(host.pages().ownerOf(page)).isEqualTo(PageOwner.EXTERNAL_PAGE_TABLE);
    assertThat(cache.septPages()).isEqualTo(sept);
    assertThat(cache.pamtPages().count()).isEqualTo(pamt);
    host.pages().freePage(page, PageOwner.EXTERNAL_PAGE_TABLE);
    cache.free();
  }

  @Test
  void pooled_withoutSeptPages_hasNone_whateverElseWaits() {
    FaultCache cache = FaultCaches.POOLED.of(tdx);
    assertThat(cache.pamtPages().topup(10, Gfp.KERNEL)).isEqualTo(Errno.OK);
    assertThat(cache.allocSeptPage()).isEqualTo(PageAllocator.NO_PAGE);
    cache.free();
  }

  @Test
  void mixed_empty_takesSeptPagesFromTheReserve_butHasNoPairs() {
    FaultCache cache = FaultCaches.MIXED.of(tdx);
    long page = cache.allocSeptPage();
    assertThat(host.pages().ownerOf(page)).isEqualTo(PageOwner.EXTERNAL_PAGE_TABLE);
    assertThat(tdx.dpamt().get(page, cache.pamtPages())).isEqualTo(Errno.ENOMEM);
    host.pages().freePage(page, PageOwner.EXTERNAL_PAGE_TABLE);
  }

  @Test
  void mixed_withoutMemory_isEnomemAndKeepsWhatItGot() {
    FaultCache cache = FaultCaches.MIXED.of(tdx);
    host.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 8);
    assertThat(cache.topup(5)).isEqualTo(Errno.ENOMEM);
    assertThat(cache.pamtPages().count()).isEqualTo(7);
    cache.free();
  }

  /** What a vCPU of the posted design has after a topup: five S-EPT pages, and pairs if needed. */
  @ParameterizedTest
  @CsvSource({"true, 15", "false, 5"})
  void aVcpuOfThePostedDesign_keepsThemAllInOneStack(boolean dynamicPamt, int pages) {
    TdxHost posted =
        new TdxHost(
            host, TdxModuleConfig.defaults().withDynamicPamt(dynamicPamt), TdxDesign.POSTED_V3);
    try (Vmm vmm = new Vmm(posted, layout(1, true, PageLevel.LEVEL_2M))) {
      accept2M(vmm, GFN, 1);
      VcpuTdx vcpu = vmm.vcpus().get(0);
      assertThat(vmm.kvm().ops().topupExternalFaultCache(vcpu, 5)).isEqualTo(Errno.OK);
      assertThat(vcpu.cachedPamtPages()).isEqualTo(pages);
      assertThat(vcpu.cachedSeptPages()).isZero();
      assertThat(HostInvariants.violations(posted, List.of(vmm))).isEmpty();
    }
  }
}
