package dev.septum.dpamt.bad;

import dev.septum.mmu.KvmMmu;
import org.jspecify.annotations.Nullable;

/** Breaks the rule that Dynamic PAMT knows the contract only. */
public final class KnowsTheMmu {
  @Nullable KvmMmu mmu;
}
