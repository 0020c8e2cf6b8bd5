package dev.septum.kit;

import dev.septum.kvm.Capability;
import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.KvmModule;
import dev.septum.mmu.VcpuMmu;
import dev.septum.mmu.vmm.BackendInvariants;
import dev.septum.mmu.vmm.BackendVm;
import java.util.ArrayList;
import java.util.List;

/** A VM of any backend. */
final class PlainKitVm extends KitVm {

  private final KvmX86Ops ops;
  private final KvmModule module;
  private final List<BackendVm> all;
  private final BackendVm vm;

  PlainKitVm(KvmBackend backend, Host host) {
    this(
        backend,
        host,
        backend.hardwareSetup(host),
        new KvmModule(host.kernel(), KernelGeneration.LINUX_7_1),
        new ArrayList<>());
  }

  private PlainKitVm(
      KvmBackend backend, Host host, KvmX86Ops ops, KvmModule module, List<BackendVm> all) {
    super(backend, host);
    this.ops = ops;
    this.module = module;
    this.all = all;
    VmType type =
        backend.capabilities().contains(Capability.EXTERNAL_PAGE_TABLE)
            ? VmType.TDX
            : VmType.DEFAULT;
    this.vm = new BackendVm(backend, ops, host, module, all.size() + 1, type, 2);
    all.add(vm);
    Errno error = vm.addMemory(0, END, PageLevel.LEVEL_2M);
    if (error.isError()) {
      throw new IllegalStateException("the VM has no memory: " + error);
    }
  }

  @Override
  public Kvm kvm() {
    return vm.kvm();
  }

  @Override
  public KvmMmu mmu() {
    return vm.mmu();
  }

  @Override
  public List<VcpuMmu> vcpus() {
    return vm.vcpus();
  }

  @Override
  public ExternalTable external() {
    return vm.externalTable();
  }

  @Override
  public List<String> violations() {
    return BackendInvariants.violations(pages(), BackendInvariants.Contents.of(all));
  }

  @Override
  GuestMemfd file() {
    return vm.files().get(0);
  }

  @Override
  Errno convert(GfnRange range, boolean toPrivate) {
    return vm.convert(range, toPrivate);
  }

  @Override
  KitVm another() {
    return new PlainKitVm(backend(), host(), ops, module, all);
  }

  @Override
  void closeVm() {
    all.remove(vm);
    vm.close();
  }
}
