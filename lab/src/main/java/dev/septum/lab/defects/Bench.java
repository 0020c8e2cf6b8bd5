package dev.septum.lab.defects;

import com.google.common.collect.ImmutableList;
import dev.septum.dpamt.Dpamt;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.run.HookedKernel;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.SeamcallLeaf;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A host with one TD, the steps that demonstrations share, and what can be seen there. */
final class Bench {

  /** The leaf that demonstrations work on: bytes 2 to 4 MiB. */
  static final long GFN = 0x200;

  /** Rounds after which a loop counts as endless. */
  static final long MANY = 1000;

  private static final long MIB = 1L << 20;
  private static final TdLayout.Region MEMORY = new TdLayout.Region(0, 16 * MIB);

  /** Measured memory, away from what demonstrations use. */
  private static final TdLayout.Region FIRMWARE =
      new TdLayout.Region((4L << 30) - 16 * 4096, 4L << 30);

  private final StagedKernel kernel = new StagedKernel();
  private final TdxHost tdx;
  private final Vmm vmm;
  private final Protocol protocol;
  private @Nullable String plantedBug;

  Bench(TdxDesign design, long bytes, Placement placement, Protocol protocol) {
    this.protocol = protocol;
    PageAllocator pages = new PageAllocator(kernel, bytes, placement, 1);
    this.tdx =
        new TdxHost(new Host(kernel, pages, TraceSink.OFF), TdxModuleConfig.defaults(), design);
    this.vmm =
        new Vmm(
            tdx,
            new TdLayout(
                ImmutableList.of(MEMORY, FIRMWARE),
                FIRMWARE,
                1,
                KvmTdx.MAP_GPA_MAX_LEN,
                false,
                PageLevel.LEVEL_2M));
  }

  StagedKernel kernel() {
    return kernel;
  }

  KvmTdx kvm() {
    return vmm.kvm();
  }

  Vmm vmm() {
    return vmm;
  }

  PageAllocator pages() {
    return tdx.host().pages();
  }

  Dpamt dpamt() {
    return tdx.dpamt();
  }

  /** The module has a page pair for the 2 MiB range of a host page. */
  boolean hasPair(long pfn) {
    return tdx.module().view().pamtPairs().containsKey((pfn & -PageAllocator.RANGE_PAGES) << 12);
  }

  // Steps.

  /** The guest accepts 2M at {@link #GFN}; the host maps a leaf. */
  void acceptLeaf() {
    protocol.step("the guest accepts 2M at gfn 0x%x, the host maps a 2M leaf", GFN);
    vmm.runToHalt(
        vmm.vcpus().get(0),
        GuestProgram.of(
            new AcceptMemory(GFN << 12, (GFN + 512) << 12, AcceptMemory.Order.ACCEPT_FIRST)));
  }

  /** The next page that is to be allocated for an owner is not there. */
  void exhaust(PageOwner owner) {
    protocol.step("inject: the next page for %s cannot be allocated", owner.tag());
    pages().faults().failNext(owner.tag(), 1);
  }

  /** The next call of a leaf function returns a status. */
  void refuse(SeamcallLeaf leaf, long status) {
    protocol.step("inject: the next %s returns %s", leaf, TdxStatus.describe(status));
    tdx.module().injector().failNext(leaf, 1, status);
  }

  /** KVM makes a mistake of its own next, and has to say so. */
  void plantBug(String place, String bugOn) {
    protocol.step("plant: the next %s, which KVM_BUG_ON(%s) is there for", place, bugOn);
    kvm().mmu().plantedBugs().failNext(place, 1);
    plantedBug = bugOn;
  }

  /** A thread of user space splits the leafs that stick out of some frames. */
  void split(long start, long end) {
    protocol.step("a thread splits the leafs that stick out of gfns [0x%x, 0x%x)", start, end);
    kvm().mmuLock().lock(LockMode.EXCLUSIVE);
    Errno error =
        kvm()
            .mmu()
            .splitCrossBoundaryLeafs(
                new GfnRange(start, end), LockMode.EXCLUSIVE, SplitCause.MEMORY_ATTRIBUTES);
    kvm().mmuLock().unlock(LockMode.EXCLUSIVE);
    protocol.observed("the split returns %s", text(error));
  }

  /** User space makes frames shared. */
  Errno share(long start, long end) {
    protocol.step("KVM_SET_MEMORY_ATTRIBUTES makes gfns [0x%x, 0x%x) shared", start, end);
    Errno error = kvm().mmu().memory().setAttributes(new GfnRange(start, end), false);
    protocol.observed("the ioctl returns %s", text(error));
    return error;
  }

  /** The guest does something; whether it came to its end in {@link #MANY} rounds. */
  boolean run(GuestTask task) {
    kernel.boundRounds(MANY);
    boolean ended = false;
    try {
      vmm.runToHalt(vmm.vcpus().get(0), GuestProgram.of(task));
      protocol.observed("the guest goes on to its end");
      ended = true;
    } catch (Vmm.VmmException e) {
      protocol.observed("user space is told: %s", String.valueOf(e.getMessage()));
      ended = true;
    } catch (HookedKernel.EndlessRetry e) {
      protocol.observed("stopped after %s", String.valueOf(e.getMessage()));
    }
    kernel.boundRounds(Long.MAX_VALUE);
    return ended;
  }

  /** Has another thread of the host do something, and waits for it. */
  void asAnotherThread(Runnable body) {
    kernel.spawn("other", body).join();
  }

  // What can be seen.

  boolean isPrivate(long gfn) {
    return new MmuView(kvm().mmu()).isPrivate(gfn);
  }

  Optional<MappedLeaf> mirrorAt(long gfn) {
    return new MmuView(kvm().mmu())
        .mirrorLeafs().stream()
            .filter(leaf -> GfnRange.ofPages(leaf.gfn(), leaf.level().pages()).contains(gfn))
            .findFirst();
  }

  Optional<SeptLeaf> septAt(long gfn) {
    return tdx.module().view().leafs(kvm().tdr() << 12).stream()
        .filter(leaf -> GfnRange.ofPages(leaf.gpa() >>> 12, level(leaf).pages()).contains(gfn))
        .findFirst();
  }

  /** Looks at one gfn from both sides. */
  void compare(long gfn) {
    String mirror = mirrorAt(gfn).map(leaf -> text(leaf.level())).orElse("nothing");
    String sept = septAt(gfn).map(leaf -> text(level(leaf)) + " " + leaf.state()).orElse("nothing");
    protocol.observed("gfn 0x%x: the mirror maps %s, the S-EPT %s", gfn, mirror, sept);
    protocol.partedIf(!sept.startsWith(mirror), "mirror and S-EPT disagree about gfn 0x%x", gfn);
    protocol.partedIf(
        septAt(gfn).filter(leaf -> leaf.state() == SeptState.BLOCKED).isPresent(),
        "the leaf stays BLOCKED: the guest cannot use memory that KVM counts as mapped");
  }

  private static PageLevel level(SeptLeaf leaf) {
    return PageLevel.of(leaf.level() + 1);
  }

  private static String text(PageLevel level) {
    return level.name().replace("LEVEL_", "");
  }

  /** The return value as user space sees it. */
  static String text(Errno error) {
    return error == Errno.OK || error == Errno.ONE
        ? Integer.toString(error.code())
        : "%d (-%s)".formatted(error.code(), error);
  }

  // The end.

  /** Checks every invariant, destroys the TD and looks for what it leaves. */
  void finish() {
    tdx.module().injector().clear();
    pages().faults().clear();
    FinalReport.of(tdx, vmm, plantedBug).forEach(protocol::report);
  }

  /** The report of the TD's first broken invariant. */
  Optional<String> splat() {
    return Optional.ofNullable(kvm().splat()).map(Object::toString);
  }
}
