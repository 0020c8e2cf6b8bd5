package dev.septum.tdx.vmm;

import dev.septum.kvm.Errno;
import dev.septum.kvm.GfnRange;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.MemoryConversion;
import dev.septum.mmu.MemoryRegion;
import dev.septum.mmu.MmuView;
import dev.septum.tdx.KvmTdx;
import dev.septum.tdx.RunExit;
import dev.septum.tdx.TdxCommands;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.VcpuTdx;
import dev.septum.tdx.module.TdGuest;
import dev.septum.tdx.module.TdParams;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/** A VMM with one TD: builds it, runs its vCPUs, converts its memory, takes it down. */
public final class Vmm implements AutoCloseable {

  /**
   * Where guest memory is in the VMM's address space: congruent to the GPA at every level. 52-bit
   * GPAs take a VMM that asked for 56-bit addresses.
   */
  private static final long HVA_BASE = 0x7f00_0000_0000L;

  private final KvmTdx kvm;
  private final TdxCommands commands;
  private final AnonymousMemory userMemory;
  private final List<GuestMemfd> files = new ArrayList<>();
  private final List<VcpuTdx> vcpus = new ArrayList<>();

  /** What a VMM reports when it cannot go on. */
  public static final class VmmException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    VmmException(String message) {
      super(message);
    }
  }

  /** Builds a TD up to its finalization; on failure everything taken is given back. */
  public Vmm(TdxHost host, TdLayout layout) {
    userMemory = new AnonymousMemory(host.host().pages());
    kvm = new KvmTdx(host, userMemory, layout.mapGpaMaxLen());
    commands = new TdxCommands(kvm);
    try {
      build(layout);
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  private void build(TdLayout layout) {
    long attributes = layout.septVeDisable() ? TdParams.SEPT_VE_DISABLE : 0;
    TdParams params =
        TdParams.defaults()
            .withAttributes(attributes)
            .withMaxVcpus(layout.vcpus())
            .withGpaw(layout.gpaw());
    check("KVM_TDX_INIT_VM", commands.initVm(params));
    for (TdLayout.Region region : layout.memory()) {
      addMemory(region, layout);
    }
    for (int i = 0; i < layout.vcpus(); i++) {
      VcpuTdx vcpu = commands.createVcpu();
      vcpus.add(vcpu);
      check("KVM_TDX_INIT_VCPU", commands.initVcpu(vcpu));
    }
    TdLayout.Region firmware = layout.firmware();
    check(
        "KVM_TDX_INIT_MEM_REGION",
        commands.initMemRegion(
            vcpus.get(0), GfnRange.ofPages(firmware.start() >>> 12, firmware.frames())));
    check("KVM_TDX_FINALIZE_VM", commands.finalizeVm());
  }

  private void addMemory(TdLayout.Region region, TdLayout layout) {
    long gfn = region.start() >>> 12;
    GuestMemfd file =
        kvm.mmu().memory().createGuestMemfd(region.frames() + gfn % 512, layout.folioLevel());
    files.add(file);
    check(
        "KVM_SET_USER_MEMORY_REGION2",
        kvm.mmu()
            .memory()
            .setRegion(
                MemoryRegion.withGmem(
                    files.size() - 1,
                    gfn,
                    region.frames(),
                    hvaOf(region.start()),
                    file,
                    gfn % 512)));
    check(
        "KVM_SET_MEMORY_ATTRIBUTES",
        kvm.mmu().memory().setAttributes(GfnRange.ofPages(gfn, region.frames()), true));
  }

  /** The TD. */
  public KvmTdx kvm() {
    return kvm;
  }

  /** The TD's vCPUs. */
  public List<VcpuTdx> vcpus() {
    return vcpus;
  }

  /** The files behind private memory, one for each region. */
  public List<GuestMemfd> files() {
    return files;
  }

  /** The VMM's own memory: what is behind the TD's shared memory. */
  public AnonymousMemory userMemory() {
    return userMemory;
  }

  /** Pages of shared memory that the VMM has populated. */
  public long sharedPages() {
    return userMemory.populated();
  }

  /** Where the VMM has the shared memory at a guest address. */
  public static long hvaOf(long gpa) {
    return HVA_BASE + gpa;
  }

  /** Runs a guest program on a vCPU until it halts. */
  public void runToHalt(VcpuTdx vcpu, TdGuest program) {
    RunExit exit = run(vcpu, program, any -> false);
    if (exit instanceof RunExit.Failed failed) {
      throw new VmmException(
          "KVM_RUN of vCPU %d: %s, %s".formatted(vcpu.id(), failed.error(), failed.reason()));
    }
    if (exit instanceof RunExit.MemoryFault fault) {
      throw new VmmException(
          "KVM_RUN of vCPU %d: no memory behind GPA 0x%x".formatted(vcpu.id(), fault.gpa()));
    }
  }

  /**
   * Runs a guest program on a vCPU and answers its exits until it halts, an exit is one that the
   * caller wants, or the VMM has no answer.
   */
  public RunExit run(VcpuTdx vcpu, TdGuest program, Predicate<RunExit> wanted) {
    vcpu.boot(program);
    while (true) {
      RunExit exit = vcpu.run();
      if (wanted.test(exit)) {
        return exit;
      }
      if (exit instanceof RunExit.MapGpa map) {
        vcpu.completeExit(convert(map.gpa(), map.bytes(), map.toPrivate()).code());
      } else if (exit instanceof RunExit.MemoryFault fault && isOfOtherKind(fault)) {
        // Memory becomes what the guest took it for.
        Errno error = convert(fault.gpa(), fault.bytes(), fault.isPrivate());
        if (error.isError()) {
          return new RunExit.Failed(error, "memory could not be converted for a fault");
        }
      } else {
        return exit;
      }
    }
  }

  /** Whether a conversion helps: what memory is already cannot be put right that way. */
  private boolean isOfOtherKind(RunExit.MemoryFault fault) {
    return new MmuView(kvm.mmu()).isPrivate(fault.gpa() >>> 12) != fault.isPrivate();
  }

  /**
   * Converts memory and gives back what was behind it ({@code kvm_convert_memory}). An error leaves
   * the memory as it was.
   */
  public Errno convert(long gpa, long bytes, boolean toPrivate) {
    return MemoryConversion.convert(
        kvm.mmu(), userMemory, GfnRange.ofPages(gpa >>> 12, bytes >>> 12), toPrivate);
  }

  private static void check(String what, Errno error) {
    if (error.isError()) {
      throw new VmmException(what + " failed: " + error);
    }
  }

  /** Destroys the TD: files first, as their private memory needs the TD's key to be removed. */
  @Override
  public void close() {
    files.forEach(GuestMemfd::release);
    files.clear();
    commands.destroy();
    userMemory.discardAll();
  }
}
