package dev.septum.kvm.reference;

import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.VmType;

/** A VM with its external page table. */
public class ReferenceVm extends Kvm {

  private final ReferenceTable table;

  /** A VM in which nothing is mapped. */
  public ReferenceVm(int id, Host host, KvmX86Ops ops, VmType type) {
    super(id, host, ops, type);
    this.table = new ReferenceTable(this);
  }

  /** The VM's external page table. */
  public final ReferenceTable table() {
    return table;
  }
}
