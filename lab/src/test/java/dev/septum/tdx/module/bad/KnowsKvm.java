package dev.septum.tdx.module.bad;

import dev.septum.kvm.Kvm;
import org.jspecify.annotations.Nullable;

/** Breaks the rule that the module knows the kernel's primitives only. */
public final class KnowsKvm {
  @Nullable Kvm kvm;
}
