package dev.septum.it.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kernel.KernelThread;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmStat;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.HugetlbMemory;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.KvmModule;
import dev.septum.mmu.MappedLeaf;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.Memslot;
import dev.septum.mmu.MmuParams;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.SpteFormat;
import dev.septum.mmu.VcpuMmu;
import dev.septum.mmu.VmMemory;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;

/** An ordinary VM with its VMM's memory and its vCPUs; slot 0 holds the guest's code. */
final class SelftestVm {

  static final long MIB = 1L << 20;
  static final long GIB = 1L << 30;

  /** The guest's program: one page of slot 0. */
  static final long CODE = 0x1000;

  private static final long CODE_BYTES = 0x4000;

  /** {@code KVM_MEMORY_ATTRIBUTE_PRIVATE}. */
  private static final long ATTRIBUTE_PRIVATE = 8;

  /** Guest memory ends here, as on a CPU with 46 address bits. */
  static final long END_OF_GUEST_MEMORY = 1L << 46;

  /**
   * Leafs by level, as the statistics of {@code /sys/kernel/debug/kvm} have them.
   *
   * @param small {@code pages_4k}
   * @param large {@code pages_2m}
   * @param giant {@code pages_1g}
   */
  record Pages(long small, long large, long giant) {
    long huge() {
      return large + giant;
    }
  }

  /** A vCPU: its MMU, and the processor that runs it. */
  record SelftestVcpu(VcpuMmu mmu, GuestCpu cpu) {
    GuestCpu.Access access(AccessKind kind, long gpa) {
      return cpu.access(kind, gpa, CODE);
    }

    /** An access that must succeed without user space. */
    void must(AccessKind kind, long gpa) {
      GuestCpu.Access access = access(kind, gpa);
      if (access.result() != GuestCpu.Result.DONE) {
        throw new AssertionError("%s of %x: %s".formatted(kind, gpa, access));
      }
    }
  }

  private static final class OrdinaryVm extends Kvm {
    OrdinaryVm(int id, Host host, VmType type) {
      super(id, host, new KvmX86Ops() {}, type);
    }
  }

  private static final class OrdinaryVcpu extends Vcpu {
    OrdinaryVcpu(Kvm kvm, int id) {
      super(kvm, id);
    }
  }

  private final Kvm kvm;
  private final KvmMmu mmu;
  private final HugetlbMemory user;
  private final List<SelftestVcpu> vcpus = new ArrayList<>();
  private final List<GuestMemfd> files = new ArrayList<>();

  SelftestVm(int id, Host host, KvmModule module, VmType type) {
    kvm = new OrdinaryVm(id, host, type);
    user = new HugetlbMemory(host.pages());
    mmu = new KvmMmu(kvm, module, MmuParams.of(SpteFormat.ept()), user);
  }

  /** Gives the guest its program. After the memory that must be well aligned. */
  SelftestVm withCode() {
    addSlot(0, 0, CODE_BYTES, PageLevel.LEVEL_4K);
    return this;
  }

  SelftestVcpu addVcpu() {
    Vcpu vcpu = new OrdinaryVcpu(kvm, vcpus.size());
    kvm.addVcpu(vcpu);
    VcpuMmu vcpuMmu = mmu.addVcpu(vcpu);
    SelftestVcpu added = new SelftestVcpu(vcpuMmu, new GuestCpu(vcpuMmu));
    vcpus.add(added);
    return added;
  }

  /** Backs guest memory with host pages of a size and makes it a slot; returns the region. */
  MemoryRegion addSlot(int slot, long gpa, long bytes, PageLevel backing) {
    MemoryRegion region =
        MemoryRegion.shared(slot, gpa >>> 12, bytes >>> 12, user.map(gpa, bytes, backing));
    set(region);
    return region;
  }

  /** The same with private memory from the start of a guest_memfd behind it. */
  MemoryRegion addSlot(int slot, long gpa, long bytes, PageLevel backing, GuestMemfd file) {
    MemoryRegion region =
        MemoryRegion.withGmem(
            slot, gpa >>> 12, bytes >>> 12, user.map(gpa, bytes, backing), file, 0);
    set(region);
    return region;
  }

  /** A region that KVM must take. */
  void set(MemoryRegion region) {
    assertThat(memory().setRegion(region)).as("%s", region).isEqualTo(Errno.OK);
  }

  /** A guest_memfd that is closed with the VM. */
  GuestMemfd createFile(long bytes) {
    GuestMemfd file = memory().createGuestMemfd(bytes >>> 12, PageLevel.LEVEL_4K);
    files.add(file);
    return file;
  }

  /** Runs a body for each vCPU on a thread of its own until all are through. */
  void runAll(Consumer<SelftestVcpu> body) {
    List<KernelThread> threads = new ArrayList<>();
    for (SelftestVcpu vcpu : vcpus) {
      String name = "vCPU " + vcpu.mmu().vcpu().id();
      threads.add(kvm.kernel().spawn(name, () -> body.accept(vcpu)));
    }
    threads.forEach(KernelThread::join);
  }

  Pages stats() {
    return new Pages(
        kvm.stats().get(VmStat.PAGES_4K),
        kvm.stats().get(VmStat.PAGES_2M),
        kvm.stats().get(VmStat.PAGES_1G));
  }

  /** The leafs in a range of guest memory, lowest first. */
  List<MappedLeaf> leafs(long gpa, long bytes) {
    return view().directLeafs().stream()
        .filter(leaf -> leaf.gfn() >= gpa >>> 12 && leaf.gfn() < (gpa + bytes) >>> 12)
        .toList();
  }

  Memslot slot(int id) {
    return Objects.requireNonNull(mmu.memslots().byId(id), () -> "no slot " + id);
  }

  /** Makes guest memory private, which must be possible. */
  void makePrivate(long gpa, long bytes) {
    assertThat(memory().setAttributes(gpa, bytes, ATTRIBUTE_PRIVATE)).isEqualTo(Errno.OK);
  }

  /** Makes guest memory shared, which must be possible. */
  void makeShared(long gpa, long bytes) {
    assertThat(memory().setAttributes(gpa, bytes, 0)).isEqualTo(Errno.OK);
  }

  /** The VMM's memory. */
  HugetlbMemory user() {
    return user;
  }

  SelftestVcpu vcpu(int id) {
    return vcpus.get(id);
  }

  Kvm kvm() {
    return kvm;
  }

  KvmMmu mmu() {
    return mmu;
  }

  VmMemory memory() {
    return mmu.memory();
  }

  MmuView view() {
    return new MmuView(mmu);
  }

  long fileFrames() {
    return files.stream().mapToLong(GuestMemfd::allocatedFrames).sum();
  }

  /** The VM goes; its files and the VMM stay. */
  void destroyVm() {
    mmu.notifier().release();
    vcpus.forEach(vcpu -> vcpu.mmu().destroy());
    vcpus.clear();
    mmu.destroy();
  }

  /** The VM goes, then its files, then the VMM. */
  void destroy() {
    destroyVm();
    files.forEach(GuestMemfd::release);
    user.unmapAll();
  }
}
