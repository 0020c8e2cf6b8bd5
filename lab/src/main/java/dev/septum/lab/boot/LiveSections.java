package dev.septum.lab.boot;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.dpamt.Dpamt;
import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.Stats;
import dev.septum.lab.report.BootReport.AcceptSection;
import dev.septum.lab.report.BootReport.CacheSection;
import dev.septum.lab.report.BootReport.ConversionSection;
import dev.septum.lab.report.BootReport.FaultSection;
import dev.septum.lab.report.BootReport.LockSection;
import dev.septum.lab.report.BootReport.PamtSection;
import dev.septum.lab.report.BootReport.RetrySection;
import dev.septum.lab.report.BootReport.SplitSection;
import dev.septum.lab.report.BootReport.StatsSection;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.vmm.BackendVm;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.guest.AcceptMemory;
import java.util.Collection;
import java.util.Map;

/** What a report says of a TD while it is there. */
record LiveSections(
    AcceptSection accepts,
    FaultSection faults,
    ImmutableMap<String, Long> seamcalls,
    SplitSection splits,
    ConversionSection conversions,
    CacheSection splitCache,
    PamtSection pamt,
    LockSection mmuLock,
    RetrySection retries,
    long secureEptPages,
    ImmutableMap<String, Long> pages,
    StatsSection stats) {

  /** Of a TD that has run. */
  static LiveSections of(KvmTdx kvm, Collection<AcceptMemory> accepts) {
    KvmMmu mmu = kvm.mmu();
    Stats<TdxCounter> tdx = kvm.counters();
    Map<PageOwner, Long> census = kvm.pages().census();
    return new LiveSections(
        new AcceptSection(
            ImmutableMap.of(
                "2M", accepts.stream().mapToLong(AcceptMemory::accepts2M).sum(),
                "4K", accepts.stream().mapToLong(AcceptMemory::accepts4K).sum())),
        new FaultSection(faults(kvm)),
        seamcalls(kvm.tdxHost()),
        new SplitSection(ImmutableMap.copyOf(mmu.splits().toMap())),
        new ConversionSection(
            tdx.get(TdxCounter.MAP_GPA_CALLS),
            tdx.get(TdxCounter.MAP_GPA_CHUNKS),
            mmu.counters().get(MmuCounter.HUGE_LEAFS_ZAPPED),
            mmu.counters().get(MmuCounter.SMALL_LEAFS_ZAPPED)),
        new CacheSection(
            tdx.get(TdxCounter.SPLIT_CACHE_TOPUPS),
            tdx.get(TdxCounter.SPLIT_CACHE_PAGES_IN),
            tdx.get(TdxCounter.SPLIT_CACHE_PAGES_OUT),
            kvm.splitCacheCount()),
        pamt(kvm.tdxHost()),
        lockDrops(mmu),
        new RetrySection(tdx.get(TdxCounter.BUSY_RETRIES), tdx.get(TdxCounter.KICKS)),
        census.getOrDefault(PageOwner.SEPT_PAGE, 0L),
        pages(kvm.pages()),
        stats(kvm));
  }

  /** Of a VM without a TDX module that has run; the conversions are its VMM's. */
  static LiveSections of(BackendVm vm, ImmutableMap<String, Long> accepts, ConversionSection done) {
    KvmMmu mmu = vm.mmu();
    PageAllocator pages = vm.kvm().pages();
    return new LiveSections(
        new AcceptSection(accepts),
        new FaultSection(
            ImmutableMap.of("taken again", mmu.counters().get(MmuCounter.FAULT_RETRIES))),
        ImmutableMap.of(),
        new SplitSection(ImmutableMap.copyOf(mmu.splits().toMap())),
        done,
        new CacheSection(0, 0, 0, vm.externalTable().splitCachePages()),
        new PamtSection(0, 0, 0, 0, 0),
        lockDrops(mmu),
        new RetrySection(0, 0),
        pages.census().getOrDefault(PageOwner.SEPT_PAGE, 0L),
        pages(pages),
        stats(vm.kvm()));
  }

  private static ImmutableMap<String, Long> faults(KvmTdx kvm) {
    Stats<TdxCounter> tdx = kvm.counters();
    long accept = tdx.get(TdxCounter.ACCEPT_EPT_VIOLATIONS);
    return ImmutableMap.of(
        "private, by an ACCEPT",
        accept,
        "private, by an access",
        tdx.get(TdxCounter.PRIVATE_EPT_VIOLATIONS) - accept,
        "shared",
        tdx.get(TdxCounter.SHARED_EPT_VIOLATIONS),
        "taken again",
        kvm.mmu().counters().get(MmuCounter.FAULT_RETRIES));
  }

  private static ImmutableMap<String, Long> seamcalls(TdxHost host) {
    ImmutableMap.Builder<String, Long> calls = ImmutableMap.builder();
    host.module().calls().forEach((leaf, count) -> calls.put(leaf.toString(), count));
    return calls.buildOrThrow();
  }

  private static PamtSection pamt(TdxHost host) {
    Dpamt dpamt = host.dpamt();
    Stats<PamtCounter> counters = dpamt.counters();
    return new PamtSection(
        counters.get(PamtCounter.FAST_GETS),
        counters.get(PamtCounter.SLOW_GETS),
        counters.get(PamtCounter.FAST_PUTS) + counters.get(PamtCounter.SLOW_PUTS),
        dpamt.pairsInstalled(),
        dpamt.pairsPeak());
  }

  private static LockSection lockDrops(KvmMmu mmu) {
    Stats<MmuCounter> counters = mmu.counters();
    return new LockSection(
        ImmutableMap.of(
            "to allocate a page table", counters.get(MmuCounter.LOCK_DROPS_ALLOC),
            "to top up the split cache", counters.get(MmuCounter.LOCK_DROPS_TOPUP),
            "because it was contended", counters.get(MmuCounter.LOCK_DROPS_RESCHED)));
  }

  private static StatsSection stats(Kvm kvm) {
    return new StatsSection(
        ImmutableMap.copyOf(kvm.stats().toMap()),
        kvm.vcpus().stream()
            .map(vcpu -> ImmutableMap.copyOf(vcpu.stats().toMap()))
            .collect(ImmutableList.toImmutableList()));
  }

  /** All pages of a host by the tag of their owner. */
  static ImmutableMap<String, Long> pages(PageAllocator allocator) {
    ImmutableMap.Builder<String, Long> pages = ImmutableMap.builder();
    allocator.census().forEach((owner, count) -> pages.put(owner.tag(), count));
    return pages.buildOrThrow();
  }

  /** Of a TD that could not even be built. */
  static LiveSections none(TdxHost host) {
    return new LiveSections(
        new AcceptSection(ImmutableMap.of()),
        new FaultSection(ImmutableMap.of()),
        seamcalls(host),
        new SplitSection(ImmutableMap.of()),
        new ConversionSection(0, 0, 0, 0),
        new CacheSection(0, 0, 0, 0),
        pamt(host),
        new LockSection(ImmutableMap.of()),
        new RetrySection(0, 0),
        0,
        pages(host.host().pages()),
        new StatsSection(ImmutableMap.of(), ImmutableList.of()));
  }
}
