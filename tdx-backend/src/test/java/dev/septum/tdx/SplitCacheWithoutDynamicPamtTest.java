package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.Test;

/** The per-VM cache where the module does not use Dynamic PAMT: a split needs no page from it. */
final class SplitCacheWithoutDynamicPamtTest extends TdTestCase {

  private static final PageLevel LEVEL = PageLevel.LEVEL_2M;

  private final KvmTdx kvm =
      new KvmTdx(tdx, new AnonymousMemory(host.pages()), KvmTdx.MAP_GPA_MAX_LEN);
  private final SplitCache cache = kvm.splitCache();

  SplitCacheWithoutDynamicPamtTest() {
    super(TdxModuleConfig.defaults().withDynamicPamt(false), Placement.SEQUENTIAL);
  }

  @Test
  void minSize_isNothing() {
    assertThat(cache.minSize(LEVEL)).isZero();
  }

  @Test
  void minSize_ofAnotherLevel_bugsTheVmToo() {
    assertThat(cache.minSize(PageLevel.LEVEL_1G)).isZero();
    assertThat(kvm.isBugged()).isTrue();
  }

  @Test
  void topup_allocatesNothing() {
    assertThat(cache.topup(LEVEL)).isEqualTo(Errno.OK);
    assertThat(cache.count()).isZero();
    assertThat(owned()).isEmpty();
    assertThat(kvm.counters().get(TdxCounter.SPLIT_CACHE_TOPUPS)).isZero();
  }

  @Test
  void needsTopup_isFalseForAnEmptyCache() {
    assertThat(cache.needsTopup(LEVEL)).isFalse();
  }

  @Test
  void take_findsNothingToTakeAndIsContent() {
    long page = host.pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
    SplitCache.Supply supply = cache.take(page, LockMode.EXCLUSIVE);
    assertThat(supply).isEqualTo(new SplitCache.Supply(Errno.OK, null));
    cache.giveBack(supply, page);
    assertThat(cache.count()).isZero();
    host.pages().freePage(page, PageOwner.EXTERNAL_PAGE_TABLE);
  }

  @Test
  void split_usesNoPamtPage() {
    Vmm vmm = boot();
    accept2M(vmm, GFN, 1);
    assertThat(split(vmm.kvm(), GFN + 1, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);

    assertThat(mirrorLeaf(vmm.kvm(), GFN).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(calls(SeamcallLeaf.TDH_PHYMEM_PAMT_ADD)).isZero();
    assertThat(owned()).doesNotContainKeys(PageOwner.PAMT_CACHE, PageOwner.PAMT_PAGE);
  }
}
