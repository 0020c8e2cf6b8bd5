package dev.septum.it.v3;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.LongStream;
import java.util.stream.Stream;

/** A host of the posted design with one TD of 16 MiB in two memslots and two vCPUs. */
final class PostedHost {

  static final long GFN = 0x200;

  /** Where the second memslot begins. */
  static final long SECOND_SLOT = 0x800;

  private static final long MIB = 1L << 20;
  private static final TdLayout.Region FIRMWARE =
      new TdLayout.Region((4L << 30) - 16 * 4096, 4L << 30);

  final LockHooks hooks = new LockHooks();
  final TdxHost tdx;
  final Vmm vmm;
  private final Map<SeamcallLeaf, Long> callsBefore;

  PostedHost(TdxDesign design, Placement placement, long bytes) {
    Host host = new Host(hooks, new PageAllocator(hooks, bytes, placement, 1), TraceSink.OFF);
    tdx = new TdxHost(host, TdxModuleConfig.defaults(), design);
    vmm =
        new Vmm(
            tdx,
            new TdLayout(
                ImmutableList.of(
                    new TdLayout.Region(0, 8 * MIB),
                    new TdLayout.Region(8 * MIB, 16 * MIB),
                    FIRMWARE),
                FIRMWARE,
                2,
                KvmTdx.MAP_GPA_MAX_LEN,
                false,
                PageLevel.LEVEL_2M));
    callsBefore = Map.copyOf(tdx.module().calls());
  }

  /** The range of a new S-EPT page has its pair already. */
  static PostedHost packed() {
    return new PostedHost(TdxDesign.POSTED_V3, Placement.SEQUENTIAL, 1L << 30);
  }

  /** The range of a new S-EPT page has no pair. */
  static PostedHost scattered() {
    return new PostedHost(TdxDesign.POSTED_V3, Placement.SCATTERED, 2L << 30);
  }

  KvmTdx kvm() {
    return vmm.kvm();
  }

  PageAllocator pages() {
    return tdx.host().pages();
  }

  PostedHost accept2M(long gfn, int leafs) {
    AcceptMemory accept =
        new AcceptMemory(gfn << 12, (gfn << 12) + 2 * MIB * leafs, AcceptMemory.Order.ACCEPT_FIRST);
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(accept));
    assertThat(accept.accepts2M()).isEqualTo(leafs);
    return this;
  }

  Errno split(long start, long end) {
    return split(start, end, LockMode.EXCLUSIVE);
  }

  Errno split(long start, long end, LockMode mode) {
    kvm().mmuLock().lock(mode);
    try {
      return kvm()
          .mmu()
          .splitCrossBoundaryLeafs(new GfnRange(start, end), mode, SplitCause.MEMORY_ATTRIBUTES);
    } finally {
      kvm().mmuLock().unlock(mode);
    }
  }

  /** KVM_SET_MEMORY_ATTRIBUTES, to shared. */
  Errno share(long start, long end) {
    return kvm().mmu().memory().setAttributes(new GfnRange(start, end), false);
  }

  boolean isPrivate(long gfn) {
    return new MmuView(kvm().mmu()).isPrivate(gfn);
  }

  /** The first gfns of the mirror's 2M leafs. */
  List<Long> leafs2M() {
    return mirror(leaf -> leaf.level() == PageLevel.LEVEL_2M).map(MappedLeaf::gfn).toList();
  }

  /** How many 4K leafs of the mirror are in a range. */
  long leafs4K(long start, long end) {
    return mirror(leaf -> leaf.level() == PageLevel.LEVEL_4K)
        .filter(leaf -> leaf.gfn() >= start && leaf.gfn() < end)
        .count();
  }

  private Stream<MappedLeaf> mirror(Predicate<MappedLeaf> wanted) {
    return new MmuView(kvm().mmu()).mirrorLeafs().stream().filter(wanted);
  }

  /**
   * The states of the S-EPT's leafs in the first 2M leaf's range, each with its level and count.
   */
  Map<String, Long> sept() {
    Map<String, Long> states = new TreeMap<>();
    for (SeptLeaf leaf : tdx.module().view().leafs(kvm().tdr() << 12)) {
      if (leaf.gpa() >>> 12 >= GFN && leaf.gpa() >>> 12 < GFN + 512) {
        states.merge((leaf.level() == 1 ? "2M " : "4K ") + leaf.state(), 1L, Long::sum);
      }
    }
    return states;
  }

  static Map<String, Long> one2M(SeptState state) {
    return Map.of("2M " + state, 1L);
  }

  long pfn() {
    return vmm.files().get(0).pfnAt(GFN);
  }

  long count(MmuCounter counter) {
    return kvm().mmu().counters().get(counter);
  }

  long count(TdxCounter counter) {
    return kvm().counters().get(counter);
  }

  /** SEAMCALLs of the split's leaf functions since the TD was built. */
  Map<SeamcallLeaf, Long> splitCalls() {
    Map<SeamcallLeaf, Long> since = new EnumMap<>(SeamcallLeaf.class);
    for (SeamcallLeaf leaf :
        List.of(
            SeamcallLeaf.TDH_MEM_RANGE_BLOCK,
            SeamcallLeaf.TDH_MEM_TRACK,
            SeamcallLeaf.TDH_MEM_PAGE_DEMOTE)) {
      long calls = tdx.module().callsOf(leaf) - callsBefore.getOrDefault(leaf, 0L);
      if (calls > 0) {
        since.put(leaf, calls);
      }
    }
    return since;
  }

  /** What a split allocates, so far. */
  long allocations() {
    return LongStream.of(
            pages().faults().callsAt("kvm_mmu_page_header"),
            pages().faults().callsAt(PageOwner.MMU_PAGE_TABLE.tag()),
            pages().faults().callsAt(PageOwner.EXTERNAL_PAGE_TABLE.tag()),
            pages().faults().callsAt(PageOwner.PAMT_CACHE.tag()))
        .sum();
  }

  /** The page for the S-EPT table of a split in progress: the last one, without a pair. */
  long unbackedSeptPage() {
    return LongStream.range(0, pages().totalPages())
        .filter(pfn -> pages().ownerOf(pfn) == PageOwner.EXTERNAL_PAGE_TABLE)
        .filter(pfn -> tdx.dpamt().refcount(pfn) == 0)
        .max()
        .orElseThrow();
  }

  /** Right before the nth lock of a class from now on is taken, by another thread. */
  void otherThreadBefore(LockClass lockClass, int nth, Runnable body) {
    hooks.before(lockClass, nth, () -> hooks.spawn("other", body).join());
  }

  List<String> violations() {
    return HostInvariants.violations(tdx, List.of(vmm));
  }

  /** No invariant is violated, and the TD's end gives everything back. */
  void assertSound() {
    assertThat(violations()).isEmpty();
    vmm.close();
    assertThat(pages().census()).containsEntry(PageOwner.FREE, pages().totalPages());
    assertThat(pages().objects()).isEmpty();
    assertThat(tdx.dpamt().refcounts()).isEmpty();
  }
}
