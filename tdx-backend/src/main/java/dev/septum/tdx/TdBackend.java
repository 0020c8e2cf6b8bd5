package dev.septum.tdx;

import com.google.common.collect.Sets;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Host;
import dev.septum.kvm.Kvm;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import dev.septum.kvm.VmType;
import java.util.EnumSet;
import java.util.Set;

/** A backend whose VMs are TDs; they differ in their {@link TdxDesign} only. */
public interface TdBackend extends KvmBackend {

  /** What a {@link TdxHost} is made with, to run the backend's TDs. */
  TdxDesign design();

  @Override
  default String name() {
    return design().name();
  }

  @Override
  default KvmX86Ops hardwareSetup(Host host) {
    return new TdxX86Ops(design().name());
  }

  @Override
  default Set<Capability> capabilities() {
    return design().acceptLock() == TdxDesign.AcceptLock.ALWAYS_WRITE
        ? Sets.immutableEnumSet(
            Capability.EXTERNAL_PAGE_TABLE, Capability.HUGE_LEAFS, Capability.SPLIT_CACHE)
        : Sets.immutableEnumSet(EnumSet.allOf(Capability.class));
  }

  /**
   * Not to be called: a TD takes more than a VM and its vCPUs, and {@link TdxCommands} build it.
   */
  @Override
  default Kvm newVm(int id, Host host, KvmX86Ops ops, VmType type) {
    throw new UnsupportedOperationException("a TD is built on a TdxHost by TdxCommands");
  }
}
