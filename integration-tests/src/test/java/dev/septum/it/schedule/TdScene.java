package dev.septum.it.schedule;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SplitCause;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.RunExit;
import dev.septum.tdx.TdxCounter;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.check.HostInvariants;
import dev.septum.tdx.guest.AcceptMemory;
import dev.septum.tdx.guest.GuestProgram;
import dev.septum.tdx.guest.GuestTask;
import dev.septum.tdx.module.OperandId;
import dev.septum.tdx.module.SeptState;
import dev.septum.tdx.module.TdxModuleConfig;
import dev.septum.tdx.module.TdxModuleView.SeptLeaf;
import dev.septum.tdx.module.TdxStatus;
import dev.septum.tdx.vmm.TdLayout;
import dev.septum.tdx.vmm.Vmm;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** A host with small TDs: 4 MiB of memory from 0 on, the first page of it measured. */
final class TdScene extends Scene {

  /** The frames that races are about: bytes 2 to 4 MiB. */
  static final long GFN = 0x200;

  private static final long MIB = 1L << 20;
  private static final long HOST_BYTES = 64 * MIB;
  private static final TdLayout.Region MEMORY = new TdLayout.Region(0, 4 * MIB);
  private static final TdLayout.Region FIRMWARE = new TdLayout.Region(0, 4096);

  private final TdxHost tdx;
  private final List<Vmm> vmms = new ArrayList<>();

  /** A host without TDs. */
  TdScene(ScheduledKernel kernel, TdxDesign design, TdxModuleConfig config) {
    super(kernel);
    PageAllocator pages = new PageAllocator(kernel, HOST_BYTES, Placement.SEQUENTIAL, 1);
    tdx = new TdxHost(new Host(kernel, pages, TraceSink.OFF), config, design);
  }

  /** A host of the sound design with one TD of two vCPUs. */
  static TdScene of(ScheduledKernel kernel, PageLevel folioLevel) {
    TdScene scene = new TdScene(kernel, TdxDesign.SOUND, TdxModuleConfig.defaults());
    scene.boot(folioLevel);
    return scene;
  }

  /** Adds a TD of two vCPUs whose private memory is in folios of a size; nothing is accepted. */
  Vmm boot(PageLevel folioLevel) {
    TdLayout layout =
        new TdLayout(
            ImmutableList.of(MEMORY), FIRMWARE, 2, KvmTdx.MAP_GPA_MAX_LEN, true, folioLevel);
    Vmm vmm = new Vmm(tdx, layout);
    vmms.add(vmm);
    vmm.vcpus().forEach(vcpu -> assertThat(vcpu.mmu().load()).isEqualTo(Errno.OK));
    return vmm;
  }

  /** The guest of the first TD accepts the 2M leaf at {@link #GFN}. */
  TdScene accepted2M() {
    AcceptMemory accept =
        new AcceptMemory(GFN << 12, (GFN << 12) + 2 * MIB, AcceptMemory.Order.ACCEPT_FIRST);
    vmm().runToHalt(vcpu(0), GuestProgram.of(accept));
    assertThat(accept.accepts2M()).isEqualTo(1);
    return this;
  }

  /** The guest accepts one page; what KVM_RUN returned, OK if it could be done. */
  Errno accept4K(int vcpu, long gfn) {
    AcceptMemory accept =
        new AcceptMemory(gfn << 12, (gfn + 1) << 12, AcceptMemory.Order.ACCEPT_FIRST);
    RunExit exit = vmm().run(vcpu(vcpu), GuestProgram.of(accept), any -> false);
    return exit instanceof RunExit.Failed failed ? failed.error() : Errno.OK;
  }

  /** The first TD. */
  Vmm vmm() {
    return vmms.get(0);
  }

  KvmTdx kvm() {
    return vmm().kvm();
  }

  VcpuTdx vcpu(int id) {
    return vmm().vcpus().get(id);
  }

  TdxHost tdx() {
    return tdx;
  }

  /** From now on any SEAMCALL on private memory may be told BUSY, as the schedule has it. */
  TdScene busyAsChosen() {
    tdx.module()
        .injector()
        .watch(
            (leaf, call) -> {
              if (leaf.name().startsWith("TDH_MEM_") && kernel().mayFail(leaf.name())) {
                call.fail(TdxStatus.TDX_OPERAND_BUSY | OperandId.RCX);
              }
            });
    return this;
  }

  /** From now on any allocation may fail, as the schedule has it. */
  TdScene outOfMemoryAsChosen() {
    pages().faults().failWhen(kernel().anyMayFail());
    return this;
  }

  /** Splits the leaf at {@link #GFN} around its second page, as a change of attributes does. */
  Errno split(LockMode mode) {
    kvm().mmuLock().lock(mode);
    try {
      return kvm()
          .mmu()
          .splitCrossBoundaryLeafs(
              GfnRange.ofPages(GFN + 1, 1), mode, SplitCause.MEMORY_ATTRIBUTES);
    } finally {
      kvm().mmuLock().unlock(mode);
    }
  }

  /** As if the guest had asked for pages of 4K around a frame, and nobody had split its leaf. */
  TdScene smallPagesAskedFor(long gfn) {
    Memslot slot = requireNonNull(kvm().mmu().memslots().find(gfn));
    slot.setGuestInhibit(gfn, PageLevel.LEVEL_2M);
    return this;
  }

  /** Nothing fails any more. */
  TdScene undisturbed() {
    tdx.module().injector().clear();
    pages().faults().clear();
    return this;
  }

  /** Runs tasks on a vCPU of the first TD until it halts. */
  void run(int vcpu, GuestTask... tasks) {
    vmm().runToHalt(vcpu(vcpu), GuestProgram.of(tasks));
  }

  /** One private fault of a vCPU, and no second attempt; the errno if it is an error. */
  Object fault(int vcpu, long gfn) {
    FaultOutcome[] outcome = new FaultOutcome[1];
    VcpuTdx running = vcpu(vcpu);
    running.asRunning(
        () ->
            outcome[0] =
                kvm().mmu().handleFault(running.mmu(), gfn << 12, KvmMmu.privateWriteError()));
    return outcome[0].error() == Errno.OK ? outcome[0].result() : outcome[0].error();
  }

  /** The ioctl alone: {@code KVM_SET_MEMORY_ATTRIBUTES}. */
  Errno setAttributes(long gfn, long pages, boolean isPrivate) {
    return kvm().mmu().memory().setAttributes(GfnRange.ofPages(gfn, pages), isPrivate);
  }

  /** What the mirror maps from {@link #GFN} on: how many leafs of each level and state. */
  String leafs() {
    TreeMap<String, Long> states = new TreeMap<>();
    for (SeptLeaf leaf : tdx.module().view().leafs(kvm().tdr() << 12)) {
      if (leaf.gpa() >>> 12 >= GFN) {
        String state = leaf.state() == SeptState.MAPPED ? "" : " " + leaf.state();
        states.merge((leaf.level() == 1 ? "2M" : "4K") + state, 1L, Long::sum);
      }
    }
    return states.isEmpty()
        ? "nothing"
        : states.entrySet().stream()
            .map(entry -> entry.getValue() + "x" + entry.getKey())
            .collect(Collectors.joining(" "));
  }

  /** The mirror's leafs from {@link #GFN} on. */
  List<MappedLeaf> mirrorLeafs() {
    return new MmuView(kvm().mmu())
        .mirrorLeafs().stream().filter(leaf -> leaf.gfn() >= GFN).toList();
  }

  long count(MmuCounter counter) {
    return kvm().mmu().counters().get(counter);
  }

  long count(TdxCounter counter) {
    return kvm().counters().get(counter);
  }

  @Override
  PageAllocator pages() {
    return tdx.host().pages();
  }

  @Override
  List<String> violations() {
    undisturbed();
    return HostInvariants.violations(tdx, vmms);
  }

  @Override
  void takeDown() {
    vmms.forEach(Vmm::close);
    assertThat(tdx.dpamt().refcounts()).isEmpty();
    assertThat(tdx.module().view().assignedPages()).isEmpty();
    assertThat(tdx.module().view().pamtPairs()).isEmpty();
  }
}
