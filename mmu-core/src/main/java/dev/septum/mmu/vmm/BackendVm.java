package dev.septum.mmu.vmm;

import static com.google.common.base.Preconditions.checkArgument;
import static com.google.common.base.Preconditions.checkState;

import com.google.common.collect.ImmutableList;
import dev.septum.kernel.LockMode;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import dev.septum.mmu.AccessKind;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestAccept;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.KvmModule;
import dev.septum.mmu.MemoryConversion;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.MmuParams;
import dev.septum.mmu.PreFault;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SpteFormat;
import dev.septum.mmu.VcpuMmu;
import java.util.ArrayList;
import java.util.List;

/**
 * A VM of any backend with its VMM and its guest: what a TD is without the TDX module. Its guest's
 * private accesses go through the external page table that the backend shows, its shared ones
 * through the direct root.
 */
public final class BackendVm implements AutoCloseable {

  /** GPA bit 47 selects shared memory where there is private memory in an external page table. */
  public static final long SHARED_BIT = 1L << 47;

  /** GPA bit 51 does with five levels. */
  private static final long FIVE_LEVEL_SHARED_BIT = 1L << 51;

  /** Where the VMM has the shared memory of guest address 0. */
  public static final long HVA_BASE = 0x7e00_0000_0000L;

  private final KvmBackend backend;
  private final Kvm kvm;
  private final KvmMmu mmu;
  private final ExternalTable external;
  private final AnonymousMemory userMemory;
  private final long sharedBit;
  private final List<GuestMemfd> files = new ArrayList<>();
  private final List<VcpuMmu> vcpus = new ArrayList<>();
  private final List<GuestCpu> cpus = new ArrayList<>();
  private boolean closed;

  /** A VM of four levels without memory. */
  public BackendVm(
      KvmBackend backend,
      KvmX86Ops ops,
      Host host,
      KvmModule module,
      int id,
      VmType type,
      int vcpuCount) {
    this(backend, ops, host, module, id, type, vcpuCount, PageLevel.LEVEL_512G);
  }

  /** The same with a root of that level: 512G, or 256T for five levels. */
  public BackendVm(
      KvmBackend backend,
      KvmX86Ops ops,
      Host host,
      KvmModule module,
      int id,
      VmType type,
      int vcpuCount,
      PageLevel rootLevel) {
    checkArgument(
        !type.hasMirroredTdp() || backend.capabilities().contains(Capability.EXTERNAL_PAGE_TABLE),
        "backend %s has no external page table",
        backend.name());
    this.backend = backend;
    this.kvm = backend.newVm(id, host, ops, type);
    this.external = backend.externalTable(kvm);
    this.userMemory = new AnonymousMemory(host.pages());
    this.mmu =
        new KvmMmu(kvm, module, MmuParams.of(format(type)).withRootLevel(rootLevel), userMemory);
    this.sharedBit = rootLevel == PageLevel.LEVEL_256T ? FIVE_LEVEL_SHARED_BIT : SHARED_BIT;
    if (type.hasMirroredTdp()) {
      mmu.setGfnDirectBits(sharedBit >>> 12);
      mmu.allowPreFault();
    }
    for (int i = 0; i < vcpuCount; i++) {
      Vcpu vcpu = backend.newVcpu(kvm, i);
      kvm.addVcpu(vcpu);
      VcpuMmu vcpuMmu = mmu.addVcpu(vcpu);
      vcpus.add(vcpuMmu);
      cpus.add(new GuestCpu(vcpuMmu));
    }
  }

  private static SpteFormat format(VmType type) {
    return type.hasMirroredTdp() ? SpteFormat.eptForTd() : SpteFormat.ept();
  }

  /** The VM. */
  public Kvm kvm() {
    return kvm;
  }

  /** The backend that it runs on. */
  public KvmBackend backend() {
    return backend;
  }

  /** Its MMU. */
  public KvmMmu mmu() {
    return mmu;
  }

  /** Its vCPUs. */
  public ImmutableList<VcpuMmu> vcpus() {
    return ImmutableList.copyOf(vcpus);
  }

  /** The GPA bit that selects shared memory, if the VM has private memory. */
  public long sharedBit() {
    return sharedBit;
  }

  /** What the backend shows of it. */
  public ExternalTable externalTable() {
    return external;
  }

  /** The VMM's own memory: what is behind the guest's shared memory. */
  public AnonymousMemory userMemory() {
    return userMemory;
  }

  /** The files behind memory that {@link #addMemory} added. */
  public ImmutableList<GuestMemfd> files() {
    return ImmutableList.copyOf(files);
  }

  /**
   * Adds a slot of memory with a file of its own behind it; all private if VMs of this type have
   * private memory.
   *
   * @param gfn its first frame
   * @param folioLevel the size of the file's folios, 4K or 2M
   */
  public Errno addMemory(long gfn, long frames, PageLevel folioLevel) {
    long hva = HVA_BASE + (gfn << 12);
    if (!kvm.type().hasPrivateMemory()) {
      return mmu.memory().setRegion(MemoryRegion.shared(nextSlot(), gfn, frames, hva));
    }
    GuestMemfd file = mmu.memory().createGuestMemfd(frames + gfn % 512, folioLevel);
    files.add(file);
    Errno error =
        mmu.memory()
            .setRegion(MemoryRegion.withGmem(nextSlot(), gfn, frames, hva, file, gfn % 512));
    return error.isError() || !kvm.type().hasMirroredTdp()
        ? error
        : mmu.memory().setAttributes(GfnRange.ofPages(gfn, frames), true);
  }

  private int nextSlot() {
    return mmu.memslots().all().stream().mapToInt(slot -> slot.id()).max().orElse(-1) + 1;
  }

  /**
   * Lets the guest access an address until it is done or user space is needed. No lock held.
   *
   * @param gpa bytes, with the shared bit
   * @param rip the instruction's address, for traces
   */
  public GuestCpu.Access access(int vcpu, AccessKind kind, long gpa, long rip) {
    if (!kvm.type().hasMirroredTdp() || (gpa & sharedBit) != 0) {
      return cpus.get(vcpu).access(kind, gpa, rip);
    }
    while (true) {
      GuestCpu.Access prepared = prepare(vcpu);
      if (prepared.result() != GuestCpu.Result.DONE || walk(vcpu, gpa >>> 12) != PageLevel.NONE) {
        return prepared;
      }
      GuestCpu.Access access = fault(vcpu, gpa);
      if (access.result() != GuestCpu.Result.DONE) {
        return access;
      }
    }
  }

  /**
   * Lets the guest accept private memory: at 2M where a 2M leaf is there or can be had, else at 4K;
   * a leaf larger than what is accepted is split first. No lock held.
   *
   * @param start bytes, a multiple of 4096
   * @param end the first byte after the range
   * @param largest 4K to accept page by page
   */
  public GuestCpu.Access accept(int vcpu, long start, long end, PageLevel largest) {
    long gpa = start;
    while (gpa < end) {
      PageLevel wanted = wantedLevel(gpa, end, largest);
      GuestCpu.Access prepared = prepare(vcpu);
      if (prepared.result() != GuestCpu.Result.DONE) {
        return prepared;
      }
      PageLevel found = walk(vcpu, gpa >>> 12);
      if (found != PageLevel.NONE && !found.isAbove(wanted)) {
        // Smaller than asked for is a size mismatch: the guest goes on with what there is.
        gpa += found.pages() << 12;
        continue;
      }
      Errno error = GuestAccept.honorLevel(mmu, gpa >>> 12, wanted, acceptLock());
      if (error.isError() && error != Errno.EBUSY) {
        return failed(error);
      }
      GuestCpu.Access access = fault(vcpu, gpa);
      if (access.result() != GuestCpu.Result.DONE) {
        return access;
      }
    }
    return DONE;
  }

  /** The same where the guest touches memory before it accepts it, up to 2M at a time. */
  public GuestCpu.Access touchAndAccept(int vcpu, long start, long end, PageLevel largest) {
    long bytes2M = PageLevel.LEVEL_2M.pages() << 12;
    for (long gpa = start; gpa < end; gpa = gpa - gpa % bytes2M + bytes2M) {
      GuestCpu.Access touched = access(vcpu, AccessKind.WRITE, gpa, 0);
      if (touched.result() != GuestCpu.Result.DONE) {
        return touched;
      }
      long until = Math.min(end, gpa - gpa % bytes2M + bytes2M);
      GuestCpu.Access accepted = accept(vcpu, gpa, until, largest);
      if (accepted.result() != GuestCpu.Result.DONE) {
        return accepted;
      }
    }
    return DONE;
  }

  private static final GuestCpu.Access DONE =
      new GuestCpu.Access(GuestCpu.Result.DONE, Errno.OK, null);

  private static PageLevel wantedLevel(long gpa, long end, PageLevel largest) {
    long bytes2M = PageLevel.LEVEL_2M.pages() << 12;
    return largest.isAbove(PageLevel.LEVEL_4K) && gpa % bytes2M == 0 && end - gpa >= bytes2M
        ? PageLevel.LEVEL_2M
        : PageLevel.LEVEL_4K;
  }

  private LockMode acceptLock() {
    return backend.capabilities().contains(Capability.SHARED_SPLIT)
        ? LockMode.SHARED
        : LockMode.EXCLUSIVE;
  }

  /** Has roots, or says why the vCPU cannot run. */
  private GuestCpu.Access prepare(int vcpu) {
    Errno error = kvm.isBugged() ? Errno.EIO : vcpus.get(vcpu).load();
    return error.isError() ? failed(error) : DONE;
  }

  /** The level of the leaf that the guest's access ends at, NONE if at none. */
  private PageLevel walk(int vcpu, long gfn) {
    Vcpu running = vcpus.get(vcpu).vcpu();
    running.serviceTlbFlush();
    running.guestMode().enter();
    try {
      ExternalTable.Leaf leaf = external.walk(gfn);
      return leaf == null ? PageLevel.NONE : leaf.level();
    } finally {
      running.guestMode().leave();
    }
  }

  /** Takes a private fault once; DONE if the guest is to try again. */
  private GuestCpu.Access fault(int vcpu, long gpa) {
    VcpuMmu vcpuMmu = vcpus.get(vcpu);
    mmu.traceFault(vcpuMmu.vcpu(), 0, gpa, KvmMmu.privateWriteError());
    FaultOutcome outcome;
    vcpuMmu.vcpu().load();
    try {
      outcome = mmu.handleFault(vcpuMmu, gpa, KvmMmu.privateWriteError());
    } finally {
      vcpuMmu.vcpu().put();
    }
    if (outcome.result() == RetPf.ERROR) {
      return new GuestCpu.Access(GuestCpu.Result.ERROR, outcome.error(), outcome.memoryFault());
    }
    // Whoever made the fault retry must get on.
    kvm.kernel().condResched();
    return outcome.result() == RetPf.EMULATE ? failed(Errno.EFAULT) : DONE;
  }

  private static GuestCpu.Access failed(Errno error) {
    return new GuestCpu.Access(GuestCpu.Result.ERROR, error, null);
  }

  /** Maps memory ahead of the guest's first access ({@code KVM_PRE_FAULT_MEMORY}). No lock held. */
  public PreFault preFault(int vcpu, long gpa, long size) {
    VcpuMmu vcpuMmu = vcpus.get(vcpu);
    vcpuMmu.vcpu().load();
    try {
      return vcpuMmu.preFault(gpa, size);
    } finally {
      vcpuMmu.vcpu().put();
    }
  }

  /** Converts memory and gives back what was behind it. An error leaves the memory as it was. */
  public Errno convert(GfnRange range, boolean toPrivate) {
    return MemoryConversion.convert(mmu, userMemory, range, toPrivate);
  }

  /** Destroys the VM: files first, since their memory must be unmapped while the VM lives. */
  @Override
  public void close() {
    checkState(!closed, "the VM is closed already");
    closed = true;
    files.forEach(GuestMemfd::release);
    mmu.notifier().release();
    vcpus.forEach(VcpuMmu::destroy);
    mmu.destroy();
    kvm.ops().freeExternalPerVmSplitCache(kvm);
    userMemory.discardAll();
  }
}
