package dev.septum.lab.backend;

import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import dev.septum.kvm.reference.NoneBackend;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmModule;
import dev.septum.mmu.vmm.BackendVm;
import dev.septum.tdx.TdBackend;
import dev.septum.tdx.TdxDesign;
import dev.septum.tdx.TdxHost;
import dev.septum.tdx.module.TdxModuleConfig;
import org.jspecify.annotations.Nullable;

/**
 * A host with a backend loaded. Where the backend's VMs are TDs it has a TDX module, and VMs that
 * are no TDs have no external page table.
 */
public final class Machine {

  /** What a VMM allocates, and KVM itself; a backend has everything else. */
  private static final ImmutableSet<PageOwner> NOT_OF_BACKENDS =
      Sets.immutableEnumSet(
          PageOwner.GUEST_MEMORY, PageOwner.USER_MEMORY, PageOwner.MMU_PAGE_TABLE);

  private final KvmBackend backend;
  private final Host host;
  private final KvmModule module;
  private final @Nullable TdxHost tdx;

  /** What runs VMs that are no TDs. */
  private final KvmBackend vms;

  private final KvmX86Ops ops;

  private Machine(KvmBackend backend, Host host, KvmModule module, @Nullable TdxHost tdx) {
    this.backend = backend;
    this.host = host;
    this.module = module;
    this.tdx = tdx;
    this.vms = designOf(backend) == null ? backend : new NoneBackend();
    this.ops = vms.hardwareSetup(host);
  }

  /** The design of a backend's TDs; null if its VMs are none. */
  public static @Nullable TdxDesign designOf(KvmBackend backend) {
    return backend instanceof TdBackend td ? td.design() : null;
  }

  /** Loads a backend, on a module of that configuration if it needs one. */
  public static Machine of(
      KvmBackend backend, Host host, KernelGeneration generation, TdxModuleConfig config) {
    TdxDesign design = designOf(backend);
    TdxHost tdx = design == null ? null : new TdxHost(host, config, design);
    KvmModule module =
        tdx == null || generation != KernelGeneration.LINUX_7_1
            ? new KvmModule(host.kernel(), generation)
            : tdx.kvmModule();
    return new Machine(backend, host, module, tdx);
  }

  /** Loads a backend for VMs that are no TDs. */
  public static Machine withoutTds(KvmBackend backend, Host host, KernelGeneration generation) {
    return new Machine(backend, host, new KvmModule(host.kernel(), generation), null);
  }

  /** The backend. */
  public KvmBackend backend() {
    return backend;
  }

  /** What it is loaded on. */
  public Host host() {
    return host;
  }

  /** The kvm module: parameters that hold for all VMs. */
  public KvmModule module() {
    return module;
  }

  /** The TDX module and what belongs to it; null if the backend needs none. */
  public @Nullable TdxHost tdx() {
    return tdx;
  }

  /** An owner of pages, with the backend's name if the backend has to give them back. */
  public String nameOf(PageOwner owner) {
    return tdx != null || NOT_OF_BACKENDS.contains(owner)
        ? owner.tag()
        : "%s of backend %s".formatted(owner.tag(), backend.name());
  }

  /** A VM that is no TD. */
  public Kvm newVm(int id, VmType type) {
    return vms.newVm(id, host, ops, type);
  }

  /** A vCPU of such a VM. */
  public Vcpu newVcpu(Kvm kvm, int id) {
    return vms.newVcpu(kvm, id);
  }

  /** A VM with private memory in the backend's external page table, and its VMM; no TD. */
  public BackendVm newBackendVm(int id, int vcpus, PageLevel rootLevel) {
    return new BackendVm(vms, ops, host, module, id, VmType.TDX, vcpus, rootLevel);
  }
}
