package dev.septum.it.differential;

import dev.septum.kvm.Errno;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.GfnRange;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmType;
import dev.septum.kvm.reference.ReferenceBackend;
import dev.septum.mmu.AnonymousMemory;
import dev.septum.mmu.FaultOutcome.MemoryFault;
import dev.septum.mmu.GuestCpu;
import dev.septum.mmu.GuestMemfd;
import dev.septum.mmu.KernelGeneration;
import dev.septum.mmu.KvmMmu;
import dev.septum.mmu.KvmModule;
import dev.septum.mmu.VcpuMmu;
import dev.septum.mmu.vmm.BackendInvariants;
import dev.septum.mmu.vmm.BackendVm;
import java.util.List;

/** A VM whose external page table is a map. */
final class ReferenceSide extends Side {

  private final Host host = newHost();
  private final BackendVm vm;

  /** A VM with other ops than the reference's own, for a test of the comparison. */
  ReferenceSide(KvmX86Ops ops) {
    vm =
        new BackendVm(
            new ReferenceBackend(),
            ops,
            host,
            new KvmModule(host.kernel(), KernelGeneration.LINUX_7_1),
            1,
            VmType.TDX,
            VCPUS);
    for (GfnRange slot : SLOTS) {
      Errno error = vm.addMemory(slot.start(), slot.pages(), PageLevel.LEVEL_2M);
      if (error.isError()) {
        throw new IllegalStateException("slot " + slot + ": " + error);
      }
    }
    rememberSlots();
  }

  ReferenceSide() {
    this(new ReferenceBackend().hardwareSetup(newHost()));
  }

  @Override
  String name() {
    return "reference";
  }

  @Override
  KvmMmu mmu() {
    return vm.mmu();
  }

  @Override
  List<VcpuMmu> vcpus() {
    return vm.vcpus();
  }

  @Override
  List<GuestMemfd> files() {
    return vm.files();
  }

  @Override
  AnonymousMemory userMemory() {
    return vm.userMemory();
  }

  @Override
  ExternalTable external() {
    return vm.externalTable();
  }

  @Override
  boolean splitsUnderTheReadLock() {
    return true;
  }

  @Override
  String accept(int vcpu, GfnRange range, PageLevel largest) {
    GuestCpu.Access access = vm.accept(vcpu, range.start() << 12, range.end() << 12, largest);
    if (access.result() == GuestCpu.Result.DONE) {
      return "accepted";
    }
    MemoryFault fault = access.memoryFault();
    return fault == null ? access.toString() : "needs memory at 0x" + Long.toHexString(fault.gpa());
  }

  @Override
  List<String> violations() {
    return BackendInvariants.violations(host.pages(), BackendInvariants.Contents.of(List.of(vm)));
  }

  @Override
  public void close() {
    vm.close();
    NothingLeft.on(host);
  }
}
