package dev.septum.kvm.reference;

import dev.septum.kvm.Capability;
import dev.septum.kvm.ExternalTable;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.Vcpu;
import dev.septum.kvm.VmType;
import java.util.Set;

/** The simplest correct backend with an external page table: a map under one lock. */
public final class ReferenceBackend implements KvmBackend {

  @Override
  public String name() {
    return "reference";
  }

  @Override
  public String description() {
    return "the simplest correct external page table, a map; what others are compared with";
  }

  @Override
  public Set<Capability> capabilities() {
    return Set.of(Capability.EXTERNAL_PAGE_TABLE, Capability.HUGE_LEAFS, Capability.SHARED_SPLIT);
  }

  @Override
  public KvmX86Ops hardwareSetup(Host host) {
    return new ReferenceOps();
  }

  @Override
  public Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {
    return new ReferenceVm(id, host, ops, type);
  }

  @Override
  public Vcpu newVcpu(Kvm kvm, int id) {
    return new ReferenceVcpu(kvm, id);
  }

  @Override
  public boolean refuseNextSplit(Kvm kvm) {
    ((ReferenceVm) kvm).refuseNextSplit();
    return true;
  }

  @Override
  public ExternalTable externalTable(Kvm kvm) {
    return ((ReferenceVm) kvm).table();
  }
}
