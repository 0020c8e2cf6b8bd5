package dev.septum.it;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
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
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.SeamcallInjector;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A host and its TDs. After every test the {@link HostInvariants} are checked, the TDs destroyed,
 * and every page and object must be back.
 */
final class TdScenario implements AfterEachCallback {

  static final long MIB = 1L << 20;
  static final long GIB = 1L << 30;

  /** A leaf that most flows work on: bytes 2 to 4 MiB. */
  static final long GFN = 0x200;

  /** Measured memory, away from what flows use. */
  private static final TdLayout.Region FIRMWARE = new TdLayout.Region(4 * GIB - 16 * 4096, 4 * GIB);

  private final HookKernel kernel = new HookKernel();
  private final TdxHost tdx;
  private final List<Vmm> vmms = new ArrayList<>();

  private TdScenario(TdxModuleConfig config, Placement placement, long bytes, long seed) {
    Host host = new Host(kernel, new PageAllocator(kernel, bytes, placement, seed), TraceSink.OFF);
    tdx = new TdxHost(host, config);
  }

  static TdScenario of(TdxModuleConfig config, Placement placement, long bytes) {
    return new TdScenario(config, placement, bytes, 1);
  }

  /** The module's pages share ranges: the range of a new S-EPT page is backed already. */
  static TdScenario packed() {
    return of(TdxModuleConfig.defaults(), Placement.SEQUENTIAL, GIB);
  }

  /** Each page of the module in a range of its own: a new S-EPT page needs a new pair. */
  static TdScenario scattered() {
    return of(TdxModuleConfig.defaults(), Placement.SCATTERED, 2 * GIB);
  }

  @Override
  public void afterEach(ExtensionContext context) {
    tdx.module().injector().clear();
    pages().faults().clear();
    checkInvariants();
    vmms.forEach(Vmm::close);
    vmms.clear();
    assertNothingIsLeft();
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

  /** User space makes frames shared. */
  static Errno share(Vmm vmm, long startGfn, long endGfn) {
    return vmm.convert(startGfn << 12, (endGfn - startGfn) << 12, false);
  }

  /** Splits what crosses the range's ends, as a thread of user space does, and zaps nothing. */
  static Errno split(Vmm vmm, long startGfn, long endGfn) {
    KvmTdx kvm = vmm.kvm();
    kvm.mmuLock().lock(LockMode.EXCLUSIVE);
    try {
      return kvm.mmu()
          .splitCrossBoundaryLeafs(
              new GfnRange(startGfn, endGfn), LockMode.EXCLUSIVE, SplitCause.MEMORY_ATTRIBUTES);
    } finally {
      kvm.mmuLock().unlock(LockMode.EXCLUSIVE);
    }
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

  /** How often something was allocated for an owner or a slab, or was to be. */
  long allocations(String place) {
    return pages().faults().callsAt(place);
  }

  List<Vmm> vmms() {
    return vmms;
  }
}
