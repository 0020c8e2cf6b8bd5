package dev.septum.kvm.reference;

import dev.septum.kernel.SharedWord;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.VmType;

/** A VM with its external page table. */
public class ReferenceVm extends Kvm {

  private final ReferenceTable table;

  /** 1 if the next split is to be refused, as busy hardware would. */
  private final SharedWord refusesNextSplit;

  /** A VM in which nothing is mapped. */
  @SuppressWarnings("this-escape") // The table asks for the vCPUs when it is looked at, not before.
  public ReferenceVm(int id, Host host, KvmX86Ops ops, VmType type) {
    super(id, host, ops, type);
    this.table = new ReferenceTable(this);
    this.refusesNextSplit = kernel().word(0).named("refuses_next_split");
  }

  void refuseNextSplit() {
    refusesNextSplit.set(1);
  }

  /** Whether this split is the one to refuse. */
  boolean refusesSplit() {
    return refusesNextSplit.get() == 1 && refusesNextSplit.compareAndSet(1, 0);
  }

  /** The VM's external page table. */
  public final ReferenceTable table() {
    return table;
  }
}
