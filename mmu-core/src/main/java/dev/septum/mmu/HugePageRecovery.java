package dev.septum.mmu;

import com.google.errorprone.annotations.Immutable;

/**
 * What happens to tables that could be huge leafs again when a slot's dirty logging ends.
 *
 * <p>mmu_lock held for read, slots_lock held; the slot does not log any more.
 */
@Immutable
interface HugePageRecovery {

  /** Handles the part of one root that lies in the slot. */
  void recover(KvmMmu mmu, MmuPage root, Memslot slot);
}
