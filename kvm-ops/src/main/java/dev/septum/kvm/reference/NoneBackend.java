package dev.septum.kvm.reference;

import dev.septum.kvm.Capability;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;
import java.util.Set;

/** No external page tables: VMs have their direct roots only. */
public final class NoneBackend implements KvmBackend {

  @Override
  public String name() {
    return "none";
  }

  @Override
  public String description() {
    return "no external page table: VMs have the direct root only";
  }

  @Override
  public Set<Capability> capabilities() {
    return Set.of();
  }

  @Override
  public KvmX86Ops hardwareSetup(Host host) {
    return new KvmX86Ops() {
      @Override
      public String name() {
        return NoneBackend.this.name();
      }
    };
  }
}
