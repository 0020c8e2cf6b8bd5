package dev.septum.mmu;

import java.util.Locale;

/** What the MMU counts for the emulator's reports, beyond the kernel's own statistics. */
public enum MmuCounter {
  /** mmu_lock drops in a split walk, to allocate a table. */
  LOCK_DROPS_ALLOC,
  /** mmu_lock drops in a split walk, to fill the backend's cache. */
  LOCK_DROPS_TOPUP,
  /** mmu_lock drops because somebody waited for it. */
  LOCK_DROPS_RESCHED,
  /** Huge leafs of direct roots split. */
  DIRECT_SPLITS,
  /** Huge leafs of mirror roots split. */
  MIRROR_SPLITS,
  /** Splits that lost a race or were told to try again. */
  SPLIT_RETRIES,
  /** Huge leafs dropped whole, without a split. */
  HUGE_LEAFS_ZAPPED,
  /** 4K leafs dropped. */
  SMALL_LEAFS_ZAPPED,
  /** Faults that had to be taken again. */
  FAULT_RETRIES,
  /** Page tables linked. */
  TABLES_LINKED;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
