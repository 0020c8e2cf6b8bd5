package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.Vmm;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Splits on a module that takes a leaf as it is: no BLOCK, no TRACK, the read mmu_lock will do. */
final class NonBlockingSplitTest extends TdTestCase {

  private final Vmm vmm = boot();
  private final KvmTdx kvm = vmm.kvm();

  NonBlockingSplitTest() {
    super(TdxModuleConfig.defaults().withNonBlockingResize(true), Placement.SEQUENTIAL);
  }

  @BeforeEach
  void mapOneLeafAndFillTheCache() {
    accept2M(vmm, GFN, 1);
    assertThat(kvm.splitCache().topup(PageLevel.LEVEL_2M)).isEqualTo(Errno.OK);
  }

  @ParameterizedTest
  @EnumSource
  void split_isOneDemoteInEitherMode(LockMode mode) {
    assertThat(split(kvm, GFN + 1, mode)).isEqualTo(Errno.OK);
    assertThat(mirrorLeaf(kvm, GFN).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero();
    assertThat(calls(SeamcallLeaf.TDH_MEM_TRACK)).isZero();
    assertThat(kvm.splitCacheCount()).isEqualTo(2);
  }

  @Test
  void demoteBusyUnderTheReadLock_isEbusyAtOnceAndChangesNothing() {
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_BUSY);
    assertBusyChangesNothing(LockMode.SHARED);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(2);
  }

  @Test
  void demoteBusyOnceUnderTheWriteLock_isRetriedWithoutVcpus() {
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_BUSY);
    assertThat(split(kvm, GFN + 1, LockMode.EXCLUSIVE)).isEqualTo(Errno.OK);
    assertThat(kvm.counters().get(TdxCounter.BUSY_RETRIES)).isEqualTo(1);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_BLOCK)).isZero();
  }

  @Test
  void demoteBusyTwiceUnderTheWriteLock_isEbusyAndChangesNothing() {
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_OPERAND_BUSY);
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 2, TdxStatus.TDX_OPERAND_BUSY);
    assertBusyChangesNothing(LockMode.EXCLUSIVE);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(3);
  }

  private void assertBusyChangesNothing(LockMode mode) {
    WholeState before = state(kvm);
    assertThat(split(kvm, GFN + 1, mode)).isEqualTo(Errno.EBUSY);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(calls(SeamcallLeaf.TDH_MEM_RANGE_UNBLOCK)).isZero();
    assertThat(kvm.isBugged()).isFalse();
    assertThat(split(kvm, GFN + 1, mode)).isEqualTo(Errno.OK);
  }

  @ParameterizedTest
  @EnumSource
  void demoteRefused_isEioAndChangesNothing(LockMode mode) {
    WholeState before = state(kvm);
    injector().failNext(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE, 1, TdxStatus.TDX_PAGE_NOT_FREE);

    assertThat(split(kvm, GFN + 1, mode)).isEqualTo(Errno.EIO);
    assertThat(state(kvm)).isEqualTo(before);
    assertThat(kvm.isBugged()).isFalse();
    assertThat(split(kvm, GFN + 1, mode)).isEqualTo(Errno.OK);
  }

  @Test
  void underTheReadLock_aCacheDrainedInBetween_isFilledAgainAndTheSplitDone() {
    // The count was 4 when this split asked; another one has the cache lock first.
    kernel.beforeNext(LockClass.PREALLOC_SPLIT_CACHE_LOCK, kvm.splitCache()::free);

    assertThat(split(kvm, GFN + 1, LockMode.SHARED)).isEqualTo(Errno.OK);
    assertThat(kvm.counters().get(TdxCounter.SPLIT_CACHE_TOO_FEW)).isEqualTo(1);
    assertThat(kvm.counters().get(TdxCounter.SPLIT_CACHE_TOPUPS)).isEqualTo(2);
    assertThat(kvm.mmu().counters().get(MmuCounter.SPLIT_RETRIES)).isEqualTo(1);
    assertThat(mirrorLeaf(kvm, GFN).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(kvm.isBugged()).isFalse();
  }

  @ParameterizedTest
  @EnumSource
  void leafsSplitAheadOfNeed_needNoWriteLock(LockMode mode) {
    accept2M(vmm, 0x400, 2);
    long writes = kernel.rwLocksTaken(LockMode.EXCLUSIVE);

    assertThat(splitAhead(kvm, GFN, 0x400, mode)).isEqualTo(Errno.OK);
    assertThat(mirrorLeaf(kvm, 0x5ff).level()).isEqualTo(PageLevel.LEVEL_4K);
    assertThat(mirrorLeaf(kvm, 0x600).level()).isEqualTo(PageLevel.LEVEL_2M);
    assertThat(kvm.mmu().splits().get(SplitCause.EAGER)).isEqualTo(2);
    if (mode == LockMode.SHARED) {
      assertThat(kernel.rwLocksTaken(LockMode.EXCLUSIVE)).isEqualTo(writes);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 8})
  void underTheReadLock_manyThreadsOnManyLeafs_splitEachOnce(int threads) {
    accept2M(vmm, 0x400, 6);
    List<KernelThread> splitters =
        IntStream.range(0, threads)
            .mapToObj(
                t ->
                    kernel.spawn(
                        "splitter " + t,
                        () -> {
                          for (int i = 0; i < 7; i++) {
                            long gfn = GFN + 0x200L * ((i + t) % 7) + 1;
                            assertThat(split(kvm, gfn, LockMode.SHARED)).isEqualTo(Errno.OK);
                          }
                        }))
            .toList();
    splitters.forEach(KernelThread::join);

    assertThat(kvm.mmu().counters().get(MmuCounter.MIRROR_SPLITS)).isEqualTo(7);
    assertThat(calls(SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)).isEqualTo(7);
    assertThat(kvm.isBugged()).isFalse();
  }
}
