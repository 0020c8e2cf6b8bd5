package dev.septum.kit;

import static dev.septum.kvm.PageLevel.LEVEL_2M;

import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.Placement;
import dev.septum.kvm.Breach;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.TraceSink;
import dev.septum.kvm.Vcpu;
import dev.septum.mmu.FaultOutcome;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.MmuView;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SplitCause;
import dev.septum.mmu.VcpuMmu;
import dev.septum.tdx.TdBackend;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A small VM on the backend that is judged, on a host of its own: two vCPUs, and private memory in
 * 2M folios of which nothing is mapped above {@link #FIRST}.
 */
public abstract class KitVm {

  /** First frame of the memory that rules are tried on; what lies below may be in use. */
  public static final long FIRST = 0x200;

  /** Frames up to the end of memory: four ranges of 2M from {@link #FIRST} on. */
  public static final long END = FIRST + 4 * 512;

  static final long HOST_BYTES = 128L << 20;

  /** Attempts of a fault that must come to an end when nobody else is at work. */
  private static final int ATTEMPTS = 100;

  private final KvmBackend backend;
  private final Host host;
  private boolean closed;

  KitVm(KvmBackend backend, Host host) {
    this.backend = backend;
    this.host = host;
  }

  /** A host for a VM. */
  static Host newHost(Kernel kernel, Placement placement) {
    return new Host(kernel, new PageAllocator(kernel, HOST_BYTES, placement, 1), TraceSink.OFF);
  }

  /** A VM of a backend: private memory if the backend has external page tables. */
  static KitVm of(KvmBackend backend, Host host) {
    return backend instanceof TdBackend tdBackend
        ? new TdKitVm(tdBackend, host)
        : new PlainKitVm(backend, host);
  }

  /** The backend. */
  public final KvmBackend backend() {
    return backend;
  }

  /** The host's memory. */
  public final PageAllocator pages() {
    return host.pages();
  }

  final Host host() {
    return host;
  }

  /** The VM. */
  public abstract Kvm kvm();

  /** Its MMU. */
  public abstract KvmMmu mmu();

  /** Its vCPUs. */
  public abstract List<VcpuMmu> vcpus();

  /** What the backend shows of it. */
  public abstract ExternalTable external();

  /** One sentence for each invariant of the host that does not hold. */
  public abstract List<String> violations();

  /** The file behind its memory; frame and index in the file are the same. */
  abstract GuestMemfd file();

  /** Unmaps a range that stays private; the file keeps its pages. */
  final Errno unmap(GfnRange range) {
    Errno error = mmu().memory().setAttributes(range, false);
    return error.isError() ? error : mmu().memory().setAttributes(range, true);
  }

  /** Converts memory as a VMM does. */
  abstract Errno convert(GfnRange range, boolean toPrivate);

  /** Another VM like this on the same host. */
  abstract KitVm another();

  final @Nullable Breach breach() {
    return kvm().breach();
  }

  /** Runs a body as a vCPU's own thread does. */
  <T> T asVcpu(int vcpu, Supplier<T> body) {
    Vcpu running = vcpus().get(vcpu).vcpu();
    running.load();
    try {
      return body.get();
    } finally {
      running.put();
    }
  }

  /** A private fault, taken again until it has an answer or has been told too often to retry. */
  final FaultOutcome fault(int vcpu, long gfn) {
    FaultOutcome outcome = faultOnce(vcpu, gfn);
    for (int i = 1; i < ATTEMPTS && outcome.result() == RetPf.RETRY; i++) {
      outcome = faultOnce(vcpu, gfn);
    }
    return outcome;
  }

  /** A private fault, taken once. */
  final FaultOutcome faultOnce(int vcpu, long gfn) {
    VcpuMmu vcpuMmu = vcpus().get(vcpu);
    return asVcpu(
        vcpu,
        () -> {
          Errno error = vcpuMmu.load();
          return error.isError()
              ? new FaultOutcome(RetPf.ERROR, error, null)
              : mmu().handleFault(vcpuMmu, gfn << 12, KvmMmu.privateWriteError());
        });
  }

  /** Splits the 2M leaf that begins at a gfn, for a range in its middle. */
  final Errno split(long gfn, LockMode mode) {
    return underMmuLock(
        mode,
        () ->
            mmu()
                .splitCrossBoundaryLeafs(
                    GfnRange.ofPages(gfn + 0x10, 0x10), mode, SplitCause.MEMORY_ATTRIBUTES));
  }

  final <T> T underMmuLock(LockMode mode, Supplier<T> body) {
    kvm().mmuLock().lock(mode);
    try {
      return body.get();
    } finally {
      kvm().mmuLock().unlock(mode);
    }
  }

  final Errno topupSplitCache() {
    return kvm().ops().topupExternalPerVmSplitCache(kvm(), LEVEL_2M);
  }

  final boolean needsSplitCacheTopup(LockMode mode) {
    return underMmuLock(mode, () -> kvm().ops().needTopupExternalPerVmSplitCache(kvm(), LEVEL_2M));
  }

  /** The mirror's leafs from {@link #FIRST} on. */
  final List<ExternalTable.Leaf> mirrorLeafs() {
    return new MmuView(mmu())
        .mirrorLeafs().stream()
            .filter(leaf -> leaf.gfn() >= FIRST)
            .map(leaf -> new ExternalTable.Leaf(leaf.gfn(), leaf.level(), leaf.pfn()))
            .toList();
  }

  /** The leafs of the external page table from {@link #FIRST} on. */
  final List<ExternalTable.Leaf> externalLeafs() {
    return external().leafs().stream().filter(leaf -> leaf.gfn() >= FIRST).toList();
  }

  /** The level at which the external page table maps a gfn; NONE if it does not. */
  final PageLevel levelOf(long gfn) {
    ExternalTable.Leaf leaf = external().walk(gfn);
    return leaf == null ? PageLevel.NONE : leaf.level();
  }

  /** Has the next split refused; false if there is no way to. */
  boolean refuseNextSplit() {
    return backend.refuseNextSplit(kvm());
  }

  abstract void closeVm();

  /** Destroys the VM, unless it is destroyed. */
  final void closeOnce() {
    if (!closed) {
      closed = true;
      closeVm();
    }
  }
}
