package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.LeafTraits;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Links, maps, removals and reclaims: BUSY is an outcome, any other error bugs the VM. */
final class SecureEptTest extends TdTestCase {

  private static final long BUSY = TdxStatus.TDX_OPERAND_BUSY;
  private static final long REFUSED = TdxStatus.TDX_OPERAND_INVALID;

  /** In a 2M range of its own, whose table the tests link themselves. */
  private static final long FAR_GFN = 0x600;

  private final Vmm vmm = boot();
  private final KvmTdx kvm = vmm.kvm();
  private final VcpuTdx vcpu = vmm.vcpus().get(0);
  private final List<Long> pages = new ArrayList<>();

  @AfterEach
  void freePages() {
    for (long page : pages) {
      if (host.pages().ownerOf(page) == PageOwner.EXTERNAL_PAGE_TABLE) {
        host.pages().freePage(page, PageOwner.EXTERNAL_PAGE_TABLE);
      }
    }
  }

  private long page() {
    long page = host.pages().allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL);
    pages.add(page);
    return page;
  }

  private Errno asVcpu(Supplier<Errno> op) {
    Errno[] result = new Errno[1];
    vcpu.asRunning(() -> result[0] = locked(LockMode.SHARED, op));
    return result[0];
  }

  private Errno locked(LockMode mode, Supplier<Errno> op) {
    kvm.mmuLock().lock(mode);
    try {
      return op.get();
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  private Errno link(long page) {
    return asVcpu(() -> kvm.ops().linkExternalSpt(kvm, FAR_GFN, PageLevel.LEVEL_2M, page));
  }

  private Errno map(long gfn, PageLevel level, long pfn) {
    long spte = kvm.mmu().format().makeLeaf(level, pfn, new LeafTraits(true, false, false), true);
    return asVcpu(() -> kvm.ops().setExternalSpte(kvm, gfn, level, spte));
  }

  private Errno makeShared(long gfn, long frames) {
    return kvm.mmu().memory().setAttributes(GfnRange.ofPages(gfn, frames), false);
  }

  @Test
  void linkBusy_isEbusyAndTakesThePamtBack() {
    accept2M(vmm, GFN, 1);
    long page = page();
    WholeState before = state(kvm);
    injector().failNext(SeamcallLeaf.TDH_MEM_SEPT_ADD, 1, BUSY);

    assertThat(link(page)).isEqualTo(Errno.EBUSY);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(kvm.isBugged()).isFalse();
  }

  @Test
  void linkRefused_isEioAndABug() {
    accept2M(vmm, GFN, 1);
    long page = page();
    WholeState before = state(kvm);
    injector().failNext(SeamcallLeaf.TDH_MEM_SEPT_ADD, 1, REFUSED);

    assertThat(link(page)).isEqualTo(Errno.EIO);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(String.valueOf(kvm.splat()))
        .contains("TDH_MEM_SEPT_ADD")
        .contains("OPERAND_INVALID");
  }

  @Test
  void linkWithoutARunningVcpu_isABug() {
    long page = page();
    Supplier<Errno> link = () -> kvm.ops().linkExternalSpt(kvm, FAR_GFN, PageLevel.LEVEL_2M, page);
    assertThat(locked(LockMode.SHARED, link)).isEqualTo(Errno.EIO);
    assertThat(kvm.isBugged()).isTrue();
  }

  @ParameterizedTest(name = "{0} BUSY in a fault")
  @EnumSource(names = {"TDH_MEM_SEPT_ADD", "TDH_MEM_PAGE_AUG"})
  void busyInAFault_isRetriedUntilItIsThere(SeamcallLeaf leaf) {
    injector().failNext(leaf, 1, BUSY);
    injector().failNext(leaf, 2, BUSY);
    long calls = calls(leaf);

    accept2M(vmm, GFN, 1);
    assertThat(calls(leaf) - calls).isGreaterThanOrEqualTo(3);
    assertThat(kvm.mmu().counters().get(MmuCounter.FAULT_RETRIES)).isEqualTo(2);
    assertThat(mirrorLeaf(kvm, GFN).level()).isEqualTo(PageLevel.LEVEL_2M);
  }

  @ParameterizedTest
  @EnumSource(names = {"LEVEL_4K", "LEVEL_2M"})
  void mapBusy_isEbusyAndChangesNothing(PageLevel level) {
    assertThat(split2MTable()).isEqualTo(Errno.OK);
    long folio = host.pages().allocFolio(PageOwner.GUEST_MEMORY, Gfp.KERNEL);
    long gfn = level == PageLevel.LEVEL_4K ? GFN + 1 : FAR_GFN;
    WholeState before = state(kvm);
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_AUG, 1, BUSY);
    int cached = vcpu.pamtCache().count();

    assertThat(map(gfn, level, folio)).isEqualTo(Errno.EBUSY);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(vcpu.pamtCache().count()).isEqualTo(cached);
    assertThat(kvm.isBugged()).isFalse();
    host.pages().freeFolio(folio, PageOwner.GUEST_MEMORY);
  }

  /** Leaves a table over GFN whose second entry is free. */
  private Errno split2MTable() {
    accept2M(vmm, GFN, 1);
    return makeShared(GFN + 1, 1);
  }

  @ParameterizedTest
  @EnumSource(names = {"LEVEL_4K", "LEVEL_2M"})
  void mapRefused_isEioAndABug(PageLevel level) {
    assertThat(split2MTable()).isEqualTo(Errno.OK);
    long folio = host.pages().allocFolio(PageOwner.GUEST_MEMORY, Gfp.KERNEL);
    WholeState before = state(kvm);
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_AUG, 1, REFUSED);

    assertThat(map(level == PageLevel.LEVEL_4K ? GFN + 1 : FAR_GFN, level, folio))
        .isEqualTo(Errno.EIO);
    assertThat(state(kvm).refcounts()).isEqualTo(before.refcounts());
    assertThat(String.valueOf(kvm.splat())).contains("TDH_MEM_PAGE_AUG");
    host.pages().freeFolio(folio, PageOwner.GUEST_MEMORY);
  }

  @Test
  void map4KWithAnEmptyVcpuCache_isEnomemAndNoBug() {
    assertThat(split2MTable()).isEqualTo(Errno.OK);
    long folio = host.pages().allocFolio(PageOwner.GUEST_MEMORY, Gfp.KERNEL);
    vcpu.faultCache().free();

    assertThat(map(GFN + 1, PageLevel.LEVEL_4K, folio)).isEqualTo(Errno.ENOMEM);
    assertThat(kvm.isBugged()).isFalse();
    host.pages().freeFolio(folio, PageOwner.GUEST_MEMORY);
  }

  @Test
  void map1G_isABug() {
    assertThat(map(0, PageLevel.LEVEL_1G, 0)).isEqualTo(Errno.EIO);
    assertThat(String.valueOf(kvm.splat())).contains("huge private mapping");
  }

  @Test
  void map2MBeforeTheTdRuns_isABug() {
    KvmTdx young = new KvmTdx(tdx, new AnonymousMemory(host.pages()), KvmTdx.MAP_GPA_MAX_LEN);
    long spte =
        young
            .mmu()
            .format()
            .makeLeaf(PageLevel.LEVEL_2M, 0, new LeafTraits(true, false, false), true);
    young.mmuLock().lock(LockMode.SHARED);
    Errno error = young.ops().setExternalSpte(young, GFN, PageLevel.LEVEL_2M, spte);
    young.mmuLock().unlock(LockMode.SHARED);
    assertThat(error).isEqualTo(Errno.EIO);
    assertThat(young.isBugged()).isTrue();
  }

  @Test
  void remove_isBlockTrackRemoveWritebackAndPut() {
    assertThat(split2MTable()).isEqualTo(Errno.OK);
    long pfn = mirrorLeaf(kvm, GFN).pfn();
    long removes = calls(SeamcallLeaf.TDH_MEM_PAGE_REMOVE);
    long wbinvds = calls(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD);
    assertThat(tdx.dpamt().refcount(pfn)).isEqualTo(511);

    assertThat(makeShared(GFN, 1)).isEqualTo(Errno.OK);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_REMOVE)).isEqualTo(removes + 1);
    assertThat(calls(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD)).isEqualTo(wbinvds + 1);
    assertThat(tdx.dpamt().refcount(pfn)).isEqualTo(510);
  }

  @Test
  void removeOf2M_writesBack512PagesAndHasNoPamtToPut() {
    accept2M(vmm, GFN, 1);
    long wbinvds = calls(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD);
    Map<Long, Long> refcounts = tdx.dpamt().refcounts();

    assertThat(makeShared(GFN, 512)).isEqualTo(Errno.OK);
    assertThat(calls(SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD)).isEqualTo(wbinvds + 512);
    assertThat(tdx.dpamt().refcounts()).isEqualTo(refcounts);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isZero();
  }

  @ParameterizedTest(name = "{0} BUSY once in a removal")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_REMOVE"})
  void removeBusyOnce_isRetriedWithoutVcpus(SeamcallLeaf leaf) {
    accept2M(vmm, GFN, 1);
    injector().failNext(leaf, 1, BUSY);

    assertThat(makeShared(GFN, 512)).isEqualTo(Errno.OK);
    assertThat(calls(leaf)).isEqualTo(2);
    assertThat(kvm.isBugged()).isFalse();
    assertThat(view().leafs(kvm.tdr() << 12)).noneMatch(leaf2 -> leaf2.gpa() == GFN << 12);
  }

  @ParameterizedTest(name = "{0} refused in a removal")
  @EnumSource(
      names = {
        "TDH_MEM_RANGE_BLOCK",
        "TDH_MEM_TRACK",
        "TDH_MEM_PAGE_REMOVE",
        "TDH_PHYMEM_PAGE_WBINVD"
      })
  void removeRefused_bugsTheVmAndStopsThere(SeamcallLeaf leaf) {
    letPagesStay();
    assertThat(split2MTable()).isEqualTo(Errno.OK);
    long pfn = mirrorLeaf(kvm, GFN).pfn();
    injector().failNext(leaf, 1, REFUSED);
    long removes = calls(SeamcallLeaf.TDH_MEM_PAGE_REMOVE);

    makeShared(GFN, 1);
    assertThat(String.valueOf(kvm.splat())).contains(leaf.kernelName());
    assertThat(tdx.dpamt().refcount(pfn)).isEqualTo(511);
    boolean tracked =
        leaf == SeamcallLeaf.TDH_MEM_PAGE_REMOVE || leaf == SeamcallLeaf.TDH_PHYMEM_PAGE_WBINVD;
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_REMOVE) - removes).isEqualTo(tracked ? 1 : 0);
    assertThat(makeShared(GFN + 2, 1)).isEqualTo(Errno.EIO);
  }

  @ParameterizedTest(name = "{0} BUSY twice in a removal")
  @EnumSource(names = {"TDH_MEM_RANGE_BLOCK", "TDH_MEM_TRACK", "TDH_MEM_PAGE_REMOVE"})
  void removeBusyTwice_bugsTheVm(SeamcallLeaf leaf) {
    letPagesStay();
    accept2M(vmm, GFN, 1);
    injector().failNext(leaf, 1, BUSY);
    injector().failNext(leaf, 2, BUSY);

    makeShared(GFN, 512);
    assertThat(kvm.isBugged()).isTrue();
    assertThat(view().leafs(kvm.tdr() << 12))
        .anyMatch(l -> l.gpa() == GFN << 12 && l.state() != SeptState.FREE);
  }

  @Test
  void removeWithoutAKey_isABug() {
    KvmTdx young = new KvmTdx(tdx, new AnonymousMemory(host.pages()), KvmTdx.MAP_GPA_MAX_LEN);
    young.mmuLock().lock(LockMode.EXCLUSIVE);
    young.ops().removeExternalSpte(young, GFN, PageLevel.LEVEL_4K, 0);
    young.mmuLock().unlock(LockMode.EXCLUSIVE);
    assertThat(String.valueOf(young.splat())).contains("lost its key");
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero();
  }

  @Test
  void reclaimOfATableWhileTheTdHasItsKey_isABug() {
    Supplier<Errno> free = () -> kvm.ops().freeExternalSpt(kvm, 0, PageLevel.LEVEL_4K, 0);
    assertThat(locked(LockMode.EXCLUSIVE, free)).isEqualTo(Errno.EIO);
    assertThat(String.valueOf(kvm.splat())).contains("while the TD has its key");
    assertThat(calls(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM)).isZero();
  }

  @Test
  void reclaimRefused_leaksThePageRatherThanHandItOut() {
    letPagesStay();
    accept2M(vmm, GFN, 1);
    long tables = pagesOf(PageOwner.SEPT_PAGE);
    int vcpuPages = vcpu.tdcx().size() + 1;
    injector().failNext(SeamcallLeaf.TDH_PHYMEM_PAGE_RECLAIM, vcpuPages + 1L, BUSY);
    assertThat(tables).isGreaterThan(1);

    vmm.close();
    assertThat(kvm.isBugged()).isTrue();
    assertThat(pagesOf(PageOwner.SEPT_PAGE)).isEqualTo(1);
    assertThat(pagesOf(PageOwner.EXTERNAL_PAGE_TABLE)).isZero();
    assertThat(pagesOf(PageOwner.TD_CONTROL)).as("the TDR stays with its last page").isEqualTo(1);
    forget(vmm);
  }
}
