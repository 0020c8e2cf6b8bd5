package dev.septum.tdx;

import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;

/** The TDX backend as posted in version 3 of the huge page series, defects included. */
public final class TdxV3Backend implements KvmBackend {

  @Override
  public String name() {
    return TdxDesign.POSTED_V3.name();
  }

  @Override
  public KvmX86Ops hardwareSetup(Host host) {
    return TdxX86Ops.INSTANCE;
  }
}
