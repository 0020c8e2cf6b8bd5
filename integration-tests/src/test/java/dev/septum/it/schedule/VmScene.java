package dev.septum.it.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.ImmutableLongArray;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.Placement;
import dev.septum.kernel.schedule.ScheduledKernel;
import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.HugetlbMemory;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.KvmModule;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.MmuCounter;
import dev.septum.mmu.MmuParams;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SpteFormat;
import dev.septum.mmu.VcpuMmu;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** A host with one ordinary VM: 2 MiB of memory from {@link #GFN} on, in one slot. */
final class VmScene extends Scene {

  /** Where the VM has its memory. */
  static final long GFN = 0x200;

  static final long PAGES = 512;

  /** The range of the whole slot. */
  static final GfnRange SLOT = GfnRange.ofPages(GFN, PAGES);

  private static final long MEMORY_BYTES = 16L << 20;

  private static final class PlainKvm extends Kvm {
    PlainKvm(Host host) {
      super(1, host, new KvmX86Ops() {}, VmType.DEFAULT);
    }
  }

  private static final class PlainVcpu extends Vcpu {
    PlainVcpu(Kvm kvm, int id) {
      super(kvm, id);
    }
  }

  private final SplitErrors splitErrors = new SplitErrors();
  private final PageAllocator pages;
  private final KvmModule module;
  private final Kvm kvm;
  private final HugetlbMemory user;
  private final KvmMmu mmu;
  private final MemoryRegion region;
  private final List<VcpuMmu> vcpus = new ArrayList<>();

  /** Counts the splits that failed, by their events. */
  private static final class SplitErrors implements TraceSink {
    private final List<String> errors = new ArrayList<>();

    @Override
    public boolean isOn() {
      return true;
    }

    @Override
    public void event(String name, String fields) {
      if (name.equals("kvm_mmu_split_huge_page") && !fields.endsWith("errno 0")) {
        errors.add(fields.substring(fields.lastIndexOf(' ') + 1));
      }
    }
  }

  /** A VM with two vCPUs whose memory the host has in pages of a size; nothing is mapped yet. */
  VmScene(ScheduledKernel kernel, PageLevel backing) {
    super(kernel);
    pages = new PageAllocator(kernel, MEMORY_BYTES, Placement.SEQUENTIAL, 0);
    Host host = new Host(kernel, pages, splitErrors);
    module = new KvmModule(kernel, KernelGeneration.LINUX_7_1);
    kvm = new PlainKvm(host);
    user = new HugetlbMemory(pages);
    mmu = new KvmMmu(kvm, module, MmuParams.of(SpteFormat.ept()), user);
    long hva = user.map(GFN << 12, PAGES << 12, backing);
    region = MemoryRegion.shared(0, GFN, PAGES, hva);
    set(region);
    for (int i = 0; i < 2; i++) {
      Vcpu vcpu = new PlainVcpu(kvm, i);
      kvm.addVcpu(vcpu);
      vcpus.add(mmu.addVcpu(vcpu));
    }
    vcpus.forEach(vcpu -> assertThat(vcpu.load()).isEqualTo(Errno.OK));
  }

  KvmMmu mmu() {
    return mmu;
  }

  MemoryRegion region() {
    return region;
  }

  VcpuMmu vcpu(int id) {
    return vcpus.get(id);
  }

  /** Writes a parameter of the kvm module. */
  VmScene parameter(String name, String value) {
    assertThat(module.setParameter(name, value)).isEqualTo(Errno.OK);
    return this;
  }

  /** User space changes what huge pages may be used for: all roots are replaced. */
  void zapAllFast() {
    parameter("nx_huge_pages", "on");
  }

  KvmModule module() {
    return module;
  }

  Errno set(MemoryRegion newRegion) {
    Errno error = mmu.memory().setRegion(newRegion);
    assertThat(error).isEqualTo(Errno.OK);
    return error;
  }

  Errno logDirtyPages(boolean on) {
    return set(region.withFlags(on ? MemoryRegion.LOG_DIRTY_PAGES : 0));
  }

  /** Takes the vCPUs' new roots, as they do before they next enter the guest. */
  VmScene reloaded() {
    vcpus.forEach(vcpu -> assertThat(vcpu.load()).isEqualTo(Errno.OK));
    return this;
  }

  /** The host's memory management takes all pages of the slot away for a moment. */
  void invalidate() {
    mmu.notifier().invalidateRange(region.hva(), region.hva() + (PAGES << 12));
  }

  /** The host clears the accessed bits. */
  VmScene aged() {
    assertThat(mmu.notifier().clearYoung(region.hva(), region.hva() + (PAGES << 12))).isTrue();
    return this;
  }

  /** Every page will count as dirty when logging starts, until its bit is cleared. */
  VmScene initiallyAllDirty() {
    assertThat(mmu.dirtyTracking().enableManualProtect(3)).isEqualTo(Errno.OK);
    return this;
  }

  /** {@code KVM_CLEAR_DIRTY_LOG} of pages among the slot's first 64. */
  Errno clearDirtyLog(long mask) {
    return mmu.dirtyTracking().clearDirtyLog(0, 0, 64, ImmutableLongArray.of(mask));
  }

  /** {@code KVM_GET_DIRTY_LOG}: the pages among the first 64. */
  String firstDirtyWord() {
    return Long.toHexString(mmu.dirtyTracking().getDirtyLog(0).words().get(0));
  }

  /** The guest accesses a frame until it is done. */
  VmScene touched(int vcpu, AccessKind kind, long gfn) {
    assertThat(access(vcpu, kind, gfn)).isEqualTo(GuestCpu.Result.DONE);
    return this;
  }

  GuestCpu.Result access(int vcpu, AccessKind kind, long gfn) {
    return new GuestCpu(vcpus.get(vcpu)).access(kind, gfn << 12, 0).result();
  }

  /** One fault of a vCPU, and no second attempt. */
  RetPf fault(int vcpu, AccessKind kind, long gfn) {
    return outcome(vcpu, kind, gfn).result();
  }

  FaultOutcome outcome(int vcpu, AccessKind kind, long gfn) {
    long error = KvmMmu.sharedError(kind == AccessKind.WRITE, kind == AccessKind.EXEC);
    return mmu.handleFault(vcpus.get(vcpu), gfn << 12, error);
  }

  /** The same of a write that found the frame mapped read-only. */
  RetPf writeProtectionFault(int vcpu, long gfn) {
    return mmu.handleFault(vcpus.get(vcpu), gfn << 12, KvmMmu.sharedError(true, false) | 1)
        .result();
  }

  /** Splits the slot's huge leafs ahead of need. */
  Errno split(LockMode mode) {
    kvm.mmuLock().lock(mode);
    try {
      return mmu.splitHugePages(SLOT, PageLevel.LEVEL_4K, mode);
    } finally {
      kvm.mmuLock().unlock(mode);
    }
  }

  /** What is mapped: how many leafs of each level, and how many of them are as asked. */
  String leafs(String word, Predicate<Long> isAsAsked) {
    List<MappedLeaf> leafs = new MmuView(mmu).directLeafs();
    if (leafs.isEmpty()) {
      return "nothing";
    }
    long asked = leafs.stream().filter(leaf -> isAsAsked.test(leaf.spte())).count();
    return leafs.stream()
            .collect(
                Collectors.groupingBy(
                    MappedLeaf::level, java.util.TreeMap::new, Collectors.counting()))
            .entrySet()
            .stream()
            .map(entry -> entry.getValue() + "x" + name(entry.getKey()))
            .collect(Collectors.joining(" "))
        + (word.isEmpty() ? "" : " (" + asked + " " + word + ")");
  }

  String leafs() {
    return leafs("", spte -> true);
  }

  String writableLeafs() {
    return leafs("writable", mmu.format()::isWritable);
  }

  String executableLeafs() {
    return leafs("executable", mmu.format()::isExecutable);
  }

  String accessedLeafs() {
    return leafs("accessed", mmu.format()::isAccessed);
  }

  private static String name(PageLevel level) {
    return level == PageLevel.LEVEL_4K ? "4K" : "2M";
  }

  /** The errors in the events of splits, in their order. */
  List<String> splitErrors() {
    return List.copyOf(splitErrors.errors);
  }

  long count(MmuCounter counter) {
    return mmu.counters().get(counter);
  }

  @Override
  PageAllocator pages() {
    return pages;
  }

  @Override
  List<String> violations() {
    MmuView view = new MmuView(mmu);
    List<String> found = new ArrayList<>(view.violations());
    if (kvm.isBugged()) {
      found.add("the VM is bugged: " + kvm.splat());
    }
    long tables = view.tables() + view.cachedTables();
    long counted = pages.census().getOrDefault(PageOwner.MMU_PAGE_TABLE, 0L);
    if (tables != counted) {
      found.add("%d page tables, %d of them in use".formatted(counted, tables));
    }
    return found;
  }

  @Override
  void takeDown() {
    mmu.notifier().release();
    vcpus.forEach(VcpuMmu::destroy);
    mmu.destroy();
    user.unmapAll();
  }
}
