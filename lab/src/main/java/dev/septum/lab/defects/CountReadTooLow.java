package dev.septum.lab.defects;

import static dev.septum.lab.defects.Bench.GFN;

import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.MmuCounter;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxCounter;

/**
 * D10: need_topup counts without a lock, just before another thread puts the missing page in. The
 * sound design counts the same way: a lock would gain nothing.
 */
final class CountReadTooLow implements Demonstration {

  /** The walk drops mmu_lock for the new table, then because it has counted too few. */
  private static final int SECOND_DROP = 2;

  @Override
  public boolean isHarmless() {
    return true;
  }

  @Override
  public void run(Laboratory lab) {
    Bench bench = lab.scattered();
    KvmTdx kvm = bench.kvm();
    bench.acceptLeaf();
    lab.protocol().step("a topup gets three pages of four");
    bench.pages().faults().failNext(PageOwner.PAMT_CACHE.tag(), 4);
    topup(kvm);
    lab.protocol().step("another thread brings the fourth, once the split has counted three");
    bench
        .kernel()
        .afterRelease(
            LockClass.MMU_LOCK, SECOND_DROP, () -> bench.asAnotherThread(() -> topup(kvm)));
    bench.split(GFN + 0x10, GFN + 0x20);
    long drops = kvm.mmu().counters().get(MmuCounter.LOCK_DROPS_TOPUP);
    long in = kvm.counters().get(TdxCounter.SPLIT_CACHE_PAGES_IN);
    long out = kvm.counters().get(TdxCounter.SPLIT_CACHE_PAGES_OUT);
    lab.protocol()
        .observed(
            "mmu_lock was dropped %d time(s) for a topup; %d pages went in, %d out",
            drops, in, out);
    lab.protocol()
        .harmlessIf(
            drops == 1 && in == 4, "mmu_lock was dropped for a topup that found the cache full");
    lab.protocol().partedIf(in - out != kvm.splitCacheCount(), "pages got lost on the way");
  }

  private static Errno topup(KvmTdx kvm) {
    return kvm.ops().topupExternalPerVmSplitCache(kvm, PageLevel.LEVEL_2M);
  }
}
