package dev.septum.tdx;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeamcallInjector;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxModuleView;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;

/**
 * A host of 1 GiB with the TDX module. After every test its TDs are checked and destroyed, and
 * every page must be back.
 */
abstract class TdTestCase {

  static final long HOST_BYTES = 1L << 30;
  static final long MIB = 1L << 20;

  /** A 2M leaf's gfn: bytes 2 to 4 MiB, inside the memory of {@link #boot}. */
  static final long GFN = 0x200;

  /** Where pages for the module are, far from what the allocator hands out first. */
  private static final TdLayout.Region FIRMWARE =
      new TdLayout.Region((4L << 30) - 16 * 4096, 4L << 30);

  final SpyKernel kernel = new SpyKernel();
  final Host host;
  final TdxHost tdx;
  private final List<Vmm> vmms = new ArrayList<>();
  private boolean pagesMayStay;

  /** Sequential placement: the module's pages share ranges, so most are backed already. */
  TdTestCase() {
    this(TdxModuleConfig.defaults(), Placement.SEQUENTIAL);
  }

  TdTestCase(TdxModuleConfig config, Placement placement) {
    this(config, placement, TdxDesign.SOUND);
  }

  TdTestCase(TdxModuleConfig config, Placement placement, TdxDesign design) {
    host = new Host(kernel, new PageAllocator(kernel, HOST_BYTES, placement, 1), TraceSink.OFF);
    tdx = new TdxHost(host, config, design);
  }

  /** Everything that a failed split must leave as it was. */
  record WholeState(
      String mirror,
      List<TdxModuleView.SeptLeaf> leafs,
      List<TdxModuleView.SeptTable> tables,
      Map<Long, TdxModuleView.PagePairView> pairs,
      Map<Long, Long> refcounts,
      int splitCache,
      Map<PageOwner, Long> census,
      Map<String, Long> objects,
      Map<String, Long> stats) {}

  final WholeState state(KvmTdx kvm) {
    long tdr = kvm.tdr() << 12;
    return new WholeState(
        new MmuView(kvm.mmu()).dump(),
        view().leafs(tdr),
        view().tables(tdr),
        view().pamtPairs(),
        tdx.dpamt().refcounts(),
        kvm.splitCacheCount(),
        host.pages().census(),
        host.pages().objects(),
        kvm.stats().toMap());
  }

  @AfterEach
  final void everythingIsGivenBack() {
    injector().clear();
    host.pages().faults().clear();
    kernel.locks().assertNoneHeld("the end of a test");
    for (Vmm vmm : vmms) {
      if (!vmm.kvm().isBugged()) {
        assertThat(new MmuView(vmm.kvm().mmu()).violations()).isEmpty();
      }
      assertThat(view().violations()).isEmpty();
      vmm.close();
    }
    assertThat(host.pages().recount()).isEqualTo(host.pages().census());
    if (!pagesMayStay) {
      assertThat(owned()).isEmpty();
      assertThat(host.pages().objects()).isEmpty();
      assertThat(tdx.dpamt().refcounts()).isEmpty();
      assertThat(view().assignedPages()).isEmpty();
    }
  }

  /** For a test in which the module keeps pages for good. */
  final void letPagesStay() {
    pagesMayStay = true;
  }

  /** For a TD that the test itself took down. */
  final void forget(Vmm vmm) {
    vmms.remove(vmm);
  }

  /** How many pages everybody but FREE has; owners of none are left out. */
  final Map<PageOwner, Long> owned() {
    ImmutableMap.Builder<PageOwner, Long> owned = ImmutableMap.builder();
    host.pages()
        .census()
        .forEach(
            (owner, count) -> {
              if (owner != PageOwner.FREE && count > 0) {
                owned.put(owner, count);
              }
            });
    return owned.buildOrThrow();
  }

  /** How many pages an owner has. */
  final long pagesOf(PageOwner owner) {
    return host.pages().census().getOrDefault(owner, 0L);
  }

  final TdxModuleView view() {
    return tdx.module().view();
  }

  final SeamcallInjector injector() {
    return tdx.module().injector();
  }

  final long calls(SeamcallLeaf leaf) {
    return tdx.module().callsOf(leaf);
  }

  /** A TD of 16 MiB in huge folios, with one vCPU. */
  final Vmm boot() {
    return boot(1, true);
  }

  final Vmm boot(int vcpus, boolean septVeDisable) {
    return boot(layout(vcpus, septVeDisable, PageLevel.LEVEL_2M));
  }

  final Vmm boot(TdLayout layout) {
    Vmm vmm = new Vmm(tdx, layout);
    vmms.add(vmm);
    return vmm;
  }

  static TdLayout layout(int vcpus, boolean septVeDisable, PageLevel folios) {
    return new TdLayout(
        ImmutableList.of(new TdLayout.Region(0, 16 * MIB), FIRMWARE),
        FIRMWARE,
        vcpus,
        KvmTdx.MAP_GPA_MAX_LEN,
        septVeDisable,
        folios);
  }

  /** Has the guest accept 2M pages from a gfn on; the host maps them at 2M. */
  static void accept2M(Vmm vmm, long gfn, int leafs) {
    AcceptMemory accept =
        new AcceptMemory(gfn << 12, (gfn << 12) + 2 * MIB * leafs, AcceptMemory.Order.ACCEPT_FIRST);
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(accept));
    assertThat(accept.accepts2M()).isEqualTo(leafs);
  }

  /** The mirror's leaf that covers a gfn. */
  static MappedLeaf mirrorLeaf(KvmTdx kvm, long gfn) {
    return new MmuView(kvm.mmu())
        .mirrorLeafs().stream()
            .filter(leaf -> GfnRange.ofPages(leaf.gfn(), leaf.level().pages()).contains(gfn))
            .findFirst()
            .orElseThrow();
  }

  /** Splits the leaf around a gfn as user space's thread does, without a vCPU. */
  static Errno split(KvmTdx kvm, long gfn, LockMode mode) {
    kvm.mmuLock().lock(mode);
    try {
      return kvm.mmu()
          .splitCrossBoundaryLeafs(GfnRange.ofPages(gfn, 1), mode, SplitCause.MEMORY_ATTRIBUTES);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  /** Splits all 2M leafs of some frames ahead of need. */
  static Errno splitAhead(KvmTdx kvm, long gfn, long frames, LockMode mode) {
    kvm.mmuLock().lock(mode);
    try {
      return kvm.mmu().splitHugePages(GfnRange.ofPages(gfn, frames), PageLevel.LEVEL_4K, mode);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  /** The lock of the split cache of the TD that was made last. */
  final SpinLock splitCacheLock() {
    List<SpinLock> locks = kernel.spinLocks(LockClass.PREALLOC_SPLIT_CACHE_LOCK);
    return locks.get(locks.size() - 1);
  }

  /** Runs {@code body} while another thread holds a spin lock. */
  final void whileHeldElsewhere(SpinLock lock, Runnable body) {
    Gate gate = new Gate();
    var holder =
        kernel.spawn(
            "holder",
            () -> {
              lock.lock();
              gate.pass();
              lock.unlock();
            });
    gate.awaitArrival();
    try {
      body.run();
    } finally {
      gate.open();
      holder.join();
    }
  }
}
