package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.KvmBackends;
import dev.septum.kvm.PageLevel;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The op of the posted design, called as the MMU calls it. */
final class PostedLeafSplitTest extends TdTestCase {

  private final Vmm vmm = boot();
  private final KvmTdx kvm = vmm.kvm();
  private long septPage;

  PostedLeafSplitTest() {
    super(TdxModuleConfig.defaults(), Placement.SEQUENTIAL, TdxDesign.POSTED_V3);
  }

  @BeforeEach
  void mapOneLeaf() {
    letPagesStay(); // The op is called behind the mirror's back, which the TD's end then meets.
    accept2M(vmm, GFN, 1);
    septPage = host.pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
  }

  private Errno op(PageLevel level, LockMode mode) {
    long leaf = mirrorLeaf(kvm, GFN).spte();
    kvm.mmuLock().lock(mode);
    try {
      return kvm.ops().splitExternalSpte(kvm, GFN, level, leaf, septPage, mode);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  private void fillCache(int pages) {
    while (kvm.splitCacheCount() < pages) {
      long page = host.pages().allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL);
      kvm.splitCache()
          .draw(
              cache -> {
                cache.push(page);
                return page;
              });
    }
  }

  private void assertBugged(String expression) {
    assertThat(kvm.isBugged()).isTrue();
    assertThat(String.valueOf(kvm.splat())).contains("KVM_BUG_ON(" + expression + ")");
  }

  @Test
  void tdxV3_isFoundByItsName() {
    assertThat(KvmBackends.onClassPath().named("tdx-v3")).isInstanceOf(TdxV3Backend.class);
    assertThat(((TdBackend) KvmBackends.onClassPath().named("tdx-v3")).design())
        .isEqualTo(TdxDesign.POSTED_V3);
    assertThat(KvmBackends.onClassPath().named("tdx-v3").hardwareSetup(host).name())
        .isEqualTo("tdx-v3");
  }

  @Test
  void split_takesTheCacheLockTwice_andPagesAfterTrackOnly() {
    fillCache(4);
    kernel.beforeNext(
        LockClass.PREALLOC_SPLIT_CACHE_LOCK,
        () -> assertThat(calls(SeamcallLeaf.TDH_MEM_TRACK)).isEqualTo(1));
    long taken = kernel.taken().getOrDefault(LockClass.PREALLOC_SPLIT_CACHE_LOCK, 0L);

    assertThat(op(PageLevel.LEVEL_2M, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);

    assertThat(kernel.taken()).containsEntry(LockClass.PREALLOC_SPLIT_CACHE_LOCK, taken + 2);
    assertThat(kvm.splitCacheCount()).isEqualTo(2);
    assertThat(host.pages().ownerOf(septPage)).isEqualTo(PageOwner.SEPT_PAGE);
    assertThat(kvm.isBugged()).isFalse();
  }

  @ParameterizedTest
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_DEMOTE"})
  void hardError_isEio_bugsTheVm_andUnblocksNothing(SeamcallLeaf leaf) {
    fillCache(4);
    long range = septPage & -512;
    long users = tdx.dpamt().refcount(range);
    injector().failNext(leaf, 1, TdxStatus.TDX_OPERAND_INVALID);

    assertThat(op(PageLevel.LEVEL_2M, LockMode.EXCLUSIVE)).isEqualTo(Errno.EIO);

    assertBugged("SEAMCALL %s failed: TDX_OPERAND_INVALID (0xc000010000000000)".formatted(leaf));
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK)).isZero();
    assertThat(tdx.dpamt().refcount(range)).isEqualTo(users);
    assertThat(kvm.splitCacheCount()).isEqualTo(leaf == SeamcallLeaf.TDH_MEM_PAGE_DEMOTE ? 2 : 4);
    assertThat(host.pages().ownerOf(septPage)).isEqualTo(PageOwner.EXTERNAL_PAGE_TABLE);
  }

  @Test
  void emptyCache_isFoundOutAfterTheLeafIsBlocked() {
    assertThat(op(PageLevel.LEVEL_2M, LockMode.EXCLUSIVE)).isEqualTo(Errno.EIO);

    assertBugged("SEAMCALL TDH_MEM_PAGE_DEMOTE failed: TDX_SW_ERROR");
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isEqualTo(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
  }

  @Test
  void oneCachedPage_isLost() {
    fillCache(1);
    long owned = pagesOf(PageOwner.PAMT_CACHE);

    assertThat(op(PageLevel.LEVEL_2M, LockMode.EXCLUSIVE)).isEqualTo(Errno.EIO);

    assertThat(kvm.splitCacheCount()).isZero();
    assertThat(pagesOf(PageOwner.PAMT_CACHE)).isEqualTo(owned);
  }

  @Test
  void theReadLock_isRefusedAndTakesNothing() {
    fillCache(4);

    assertThat(op(PageLevel.LEVEL_2M, LockMode.SHARED)).isEqualTo(Errno.EOPNOTSUPP);

    assertThat(kvm.isBugged()).isFalse();
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero();
    assertThat(kvm.splitCacheCount()).isEqualTo(4);
    host.pages().freePage(septPage, PageOwner.EXTERNAL_PAGE_TABLE);
  }

  @Test
  void anotherLevelThan2M_bugsTheVm_beforeTheLockModeIsLookedAt() {
    assertThat(op(PageLevel.LEVEL_1G, LockMode.SHARED)).isEqualTo(Errno.EIO);
    assertBugged("split of a TD that is not RUNNABLE");
  }
}
