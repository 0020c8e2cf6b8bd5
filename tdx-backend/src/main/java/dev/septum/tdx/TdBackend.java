package dev.septum.tdx;

import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;

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
    return TdxX86Ops.INSTANCE;
  }
}
