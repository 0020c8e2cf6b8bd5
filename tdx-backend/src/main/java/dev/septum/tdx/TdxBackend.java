package dev.septum.tdx;

import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmX86Ops;

/** The sound TDX backend: it does what the huge page series should have done. */
public final class TdxBackend implements KvmBackend {

  @Override
  public String name() {
    return TdxDesign.SOUND.name();
  }

  @Override
  public KvmX86Ops hardwareSetup(Host host) {
    return TdxX86Ops.INSTANCE;
  }
}
