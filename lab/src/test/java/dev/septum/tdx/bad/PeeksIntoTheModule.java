package dev.septum.tdx.bad;

import dev.septum.tdx.TdxHost;
import dev.septum.tdx.module.TdxModuleView;

/** Breaks the rule that KVM's side talks to the module by SEAMCALLs only. */
public final class PeeksIntoTheModule {

  private PeeksIntoTheModule() {}

  static TdxModuleView peek(TdxHost host) {
    return host.module().view();
  }
}
