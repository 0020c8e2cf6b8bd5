package dev.septum.it;

import static java.util.stream.Collectors.counting;
import static java.util.stream.Collectors.groupingBy;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.dpamt.PamtCounter;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.mmu.SplitDesign;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.SeamcallInjector;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A host of one design and its TDs. After every test the {@link HostInvariants} are checked, the
 * TDs destroyed, and every page and object must be back.
 */
final class TdScenario implements AfterEachCallback {

  static final long MIB = 1L << 20;
  static final long GIB = 1L << 30;

  /** A leaf that most flows work on: bytes 2 to 4 MiB. */
  static final long GFN = 0x200;

  /** Measured memory, away from what flows use. */
  private static final TdLayout.Region FIRMWARE = new TdLayout.Region(4 * GIB - 16 * 4096, 4 * GIB);

  /** Where the second slot of {@link #bootTwoSlots} begins. */
  static final long SECOND_SLOT = 0x800;

  private final HookKernel kernel = new HookKernel();
  private final SeamcallLog log = new SeamcallLog();
  private final TdxHost tdx;
  private final List<Vmm> vmms = new ArrayList<>();
  private boolean isBroken;

  private TdScenario(TdxDesign design, TdxModuleConfig config, Placement placement, long bytes) {
    Host host = new Host(kernel, new PageAllocator(kernel, bytes, placement, 1), log);
    tdx = new TdxHost(host, config, design);
  }

  /** Both designs, for {@link EachDesign}. */
  static Stream<Named<TdxDesign>> designs() {
    return Stream.of(TdxDesign.SOUND, TdxDesign.POSTED_V3)
        .map(design -> Named.of(design.name(), design));
  }

  static TdScenario of(TdxDesign design, TdxModuleConfig config, Placement placement, long bytes) {
    return new TdScenario(design, config, placement, bytes);
  }

  static TdScenario of(TdxModuleConfig config, Placement placement, long bytes) {
    return of(TdxDesign.SOUND, config, placement, bytes);
  }

  /** The module's pages share ranges: the range of a new S-EPT page is backed already. */
  static TdScenario packed(TdxDesign design) {
    return of(design, TdxModuleConfig.defaults(), Placement.SEQUENTIAL, GIB);
  }

  /** {@link #packed(TdxDesign)} of the sound design. */
  static TdScenario packed() {
    return packed(TdxDesign.SOUND);
  }

  /** Each page of the module in a range of its own: a new S-EPT page needs a new pair. */
  static TdScenario scattered(TdxDesign design) {
    return of(design, TdxModuleConfig.defaults(), Placement.SCATTERED, 2 * GIB);
  }

  /** {@link #scattered(TdxDesign)} of the sound design. */
  static TdScenario scattered() {
    return scattered(TdxDesign.SOUND);
  }

  @Override
  public void afterEach(ExtensionContext context) {
    afterTest();
  }

  /** The end of a test, for a host that is no extension. */
  void afterTest() {
    if (isBroken) {
      return;
    }
    tdx.module().injector().clear();
    pages().faults().clear();
    checkInvariants();
    vmms.forEach(Vmm::close);
    vmms.clear();
    assertNothingIsLeft();
  }

  /** What a defect breaks, by the checkers' account. The host can't be taken down after this. */
  List<String> brokenInvariants() {
    isBroken = true;
    List<String> broken = HostInvariants.violations(tdx, vmms);
    assertThat(broken).as("broken invariants").isNotEmpty();
    return broken;
  }

  /** Fails with every invariant that does not hold. */
  void checkInvariants() {
    assertThat(HostInvariants.violations(tdx, vmms)).as("violated invariants").isEmpty();
  }

  void assertNothingIsLeft() {
    kernel.locks().assertNoneHeld("the end of a scenario");
    assertThat(pages().census()).containsEntry(PageOwner.FREE, pages().totalPages());
    assertThat(pages().recount()).isEqualTo(pages().census());
    assertThat(pages().objects()).isEmpty();
    assertThat(tdx.dpamt().refcounts()).isEmpty();
    assertThat(tdx.module().view().assignedPages()).isEmpty();
    assertThat(tdx.module().view().pamtPairs()).isEmpty();
    assertThat(tdx.module().view().violations()).isEmpty();
  }

  /** Ends a TD before the test does. */
  void close(Vmm vmm) {
    vmms.remove(vmm);
    vmm.close();
  }

  static TdLayout layout(int vcpus, TdLayout.Region... memory) {
    return new TdLayout(
        ImmutableList.<TdLayout.Region>builder().add(memory).add(FIRMWARE).build(),
        FIRMWARE,
        vcpus,
        KvmTdx.MAP_GPA_MAX_LEN,
        true,
        PageLevel.LEVEL_2M);
  }

  /** The same TD, in which touching what is not accepted raises #VE. */
  static TdLayout withVirtualizationExceptions(TdLayout layout) {
    return new TdLayout(
        layout.memory(),
        layout.firmware(),
        layout.vcpus(),
        layout.mapGpaMaxLen(),
        false,
        layout.folioLevel());
  }

  /** The same TD, whose MapGPA calls go to user space in pieces of this size. */
  static TdLayout withPieces(TdLayout layout, long bytes) {
    return new TdLayout(
        layout.memory(),
        layout.firmware(),
        layout.vcpus(),
        bytes,
        layout.septVeDisable(),
        layout.folioLevel());
  }

  Vmm boot(TdLayout layout) {
    Vmm vmm = new Vmm(tdx, layout);
    vmms.add(vmm);
    return vmm;
  }

  /** A TD with 16 MiB from 0 on and one vCPU. */
  Vmm boot() {
    return boot(layout(1, new TdLayout.Region(0, 16 * MIB)));
  }

  /** A TD with 16 MiB in two slots and two vCPUs. */
  Vmm bootTwoSlots() {
    return boot(layout(2, new TdLayout.Region(0, 8 * MIB), new TdLayout.Region(8 * MIB, 16 * MIB)));
  }

  /** The same, with its 2M leafs from {@link #GFN} on mapped and accepted. */
  Vmm bootWithLeafs(int leafs) {
    Vmm vmm = boot();
    accept2M(vmm, GFN, leafs);
    return vmm;
  }

  static void accept2M(Vmm vmm, long gfn, int leafs) {
    AcceptMemory accept =
        new AcceptMemory(gfn << 12, (gfn << 12) + 2 * MIB * leafs, AcceptMemory.Order.ACCEPT_FIRST);
    run(vmm, accept);
    assertThat(accept.accepts2M()).isEqualTo(leafs);
  }

  /** Runs tasks on the first vCPU until it halts. */
  static void run(Vmm vmm, GuestTask... tasks) {
    vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(tasks));
  }

  /** User space makes frames shared, and gives back what was behind them. */
  static Errno share(Vmm vmm, long startGfn, long endGfn) {
    return vmm.convert(startGfn << 12, (endGfn - startGfn) << 12, false);
  }

  /** The ioctl alone: {@code KVM_SET_MEMORY_ATTRIBUTES}. */
  static Errno setAttributes(Vmm vmm, long startGfn, long endGfn, boolean isPrivate) {
    return vmm.kvm().mmu().memory().setAttributes(new GfnRange(startGfn, endGfn), isPrivate);
  }

  /** Splits what crosses the range's ends, as a thread of user space does, and zaps nothing. */
  static Errno split(Vmm vmm, long startGfn, long endGfn) {
    return split(vmm, startGfn, endGfn, LockMode.EXCLUSIVE);
  }

  static Errno split(Vmm vmm, long startGfn, long endGfn, LockMode mode) {
    KvmTdx kvm = vmm.kvm();
    kvm.mmuLock().lock(mode);
    try {
      return kvm.mmu()
          .splitCrossBoundaryLeafs(
              new GfnRange(startGfn, endGfn), mode, SplitCause.MEMORY_ATTRIBUTES);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  /** A private write fault of the first vCPU, once: what the MMU makes of it. */
  static FaultOutcome fault(Vmm vmm, long gfn) {
    return vmm.kvm()
        .mmu()
        .handleFault(vmm.vcpus().get(0).mmu(), gfn << 12, KvmMmu.privateWriteError());
  }

  /** The same through the shared alias of the gfn. */
  static FaultOutcome sharedFault(Vmm vmm, long gfn) {
    return vmm.kvm()
        .mmu()
        .handleFault(
            vmm.vcpus().get(0).mmu(),
            gfn << 12 | KvmTdx.SHARED_BIT,
            KvmMmu.sharedError(true, false));
  }

  /** The first gfns of the 2M leafs of the mirror. */
  static List<Long> leafs2M(Vmm vmm) {
    return new MmuView(vmm.kvm().mmu())
        .mirrorLeafs().stream()
            .filter(leaf -> leaf.level() == PageLevel.LEVEL_2M)
            .map(MappedLeaf::gfn)
            .toList();
  }

  /** How many 4K leafs of the mirror are in a range. */
  static long leafs4K(Vmm vmm, long startGfn, long endGfn) {
    GfnRange range = new GfnRange(startGfn, endGfn);
    return new MmuView(vmm.kvm().mmu())
        .mirrorLeafs().stream()
            .filter(leaf -> leaf.level() == PageLevel.LEVEL_4K && range.contains(leaf.gfn()))
            .count();
  }

  /** pfn behind a gfn of the TD's first memory region. */
  static long pfnOf(Vmm vmm, long gfn) {
    return vmm.files().get(0).pfnAt(gfn);
  }

  static long count(Vmm vmm, MmuCounter counter) {
    return vmm.kvm().mmu().counters().get(counter);
  }

  static long count(Vmm vmm, TdxCounter counter) {
    return vmm.kvm().counters().get(counter);
  }

  /** The S-EPT's leafs in a range: how many of each level and state, as "4K MAPPED". */
  Map<String, Long> sept(Vmm vmm, long startGfn, long endGfn) {
    Map<String, Long> states = new TreeMap<>();
    for (SeptLeaf leaf : tdx.module().view().leafs(vmm.kvm().tdr() << 12)) {
      if (leaf.gpa() >>> 12 >= startGfn && leaf.gpa() >>> 12 < endGfn) {
        states.merge((leaf.level() == 1 ? "2M " : "4K ") + leaf.state(), 1L, Long::sum);
      }
    }
    return states;
  }

  /** What the first leaf that flows work on has become in the S-EPT. */
  Map<String, Long> sept(Vmm vmm) {
    return sept(vmm, GFN, GFN + 512);
  }

  /** What a caller gets to see of an error of a split. */
  Errno seen(Errno error) {
    return tdx.design().mmu().errors() == SplitDesign.Errors.RETURNED ? error : Errno.ONE;
  }

  /** How often each leaf function is called while a body runs. */
  Map<SeamcallLeaf, Long> callsOf(Runnable body) {
    return log.during(body).stream()
        .collect(groupingBy(Function.identity(), TreeMap::new, counting()));
  }

  /** The leaf functions that are called while a body runs, in their order. */
  List<SeamcallLeaf> orderOf(Runnable body) {
    return log.during(body);
  }

  TdSnapshot snapshot() {
    return TdSnapshot.of(tdx, vmms);
  }

  HookKernel kernel() {
    return kernel;
  }

  TdxHost tdx() {
    return tdx;
  }

  PageAllocator pages() {
    return tdx.host().pages();
  }

  SeamcallInjector injector() {
    return tdx.module().injector();
  }

  long calls(SeamcallLeaf leaf) {
    return tdx.module().callsOf(leaf);
  }

  long count(PamtCounter counter) {
    return tdx.dpamt().counters().get(counter);
  }

  /** Header, table, S-EPT page and PAMT pages allocated so far. */
  long splitAllocations() {
    return allocations("kvm_mmu_page_header")
        + allocations(PageOwner.MMU_PAGE_TABLE.tag())
        + allocations(PageOwner.EXTERNAL_PAGE_TABLE.tag())
        + allocations(PageOwner.PAMT_CACHE.tag());
  }

  /**
   * Another user of the range of a new S-EPT page gets its pair first: between the count of 0 and
   * pamt_lock. The page of that user, once it has come.
   */
  long[] otherWinsTheNextGet() {
    long[] page = new long[1];
    kernel.otherThreadBefore(
        LockClass.PAMT_LOCK,
        1,
        () -> {
          page[0] = unbackedSeptPage() + 1;
          assertThat(tdx.dpamt().get(page[0])).isEqualTo(Errno.OK);
        });
    return page;
  }

  /** The page for the S-EPT table of a split in progress: the last one, and without a pair. */
  long unbackedSeptPage() {
    return LongStream.range(0, pages().totalPages())
        .filter(pfn -> pages().ownerOf(pfn) == PageOwner.EXTERNAL_PAGE_TABLE)
        .filter(pfn -> tdx.dpamt().refcount(pfn) == 0)
        .max()
        .orElseThrow();
  }

  /** How often something was allocated for an owner or a slab, or was to be. */
  long allocations(String place) {
    return pages().faults().callsAt(place);
  }

  List<Vmm> vmms() {
    return vmms;
  }
}
