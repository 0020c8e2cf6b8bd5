package dev.septum.kvm.bad;

import dev.septum.mmu.KvmMmu;
import org.jspecify.annotations.Nullable;

/** Breaks the rule that the contract knows nobody. */
public final class KnowsTheMmu {
  @Nullable KvmMmu mmu;
}
