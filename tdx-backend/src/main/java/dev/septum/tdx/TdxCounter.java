package dev.septum.tdx;

import java.util.Locale;

/** What KVM's TDX side counts for the emulator's reports. */
public enum TdxCounter {
  /** Topups of a VM's split cache that had to allocate. */
  SPLIT_CACHE_TOPUPS,
  /** Pages that topups put into a VM's split cache. */
  SPLIT_CACHE_PAGES_IN,
  /** Pages that splits drew from a VM's split cache. */
  SPLIT_CACHE_PAGES_OUT,
  /** Pages that a failed or easier split put back. */
  SPLIT_CACHE_PAGES_BACK,
  /** Splits that found too few pages once they held the cache's lock. */
  SPLIT_CACHE_TOO_FEW,
  /** SEAMCALLs done a second time with every vCPU out of the guest. */
  BUSY_RETRIES,
  /** vCPUs that had to leave the guest. */
  KICKS,
  /** Splits undone because a step failed. */
  SPLITS_UNDONE,

  /** EPT violations on private memory. */
  PRIVATE_EPT_VIOLATIONS,
  /** EPT violations that an ACCEPT raised. */
  ACCEPT_EPT_VIOLATIONS,
  /** EPT violations on shared memory. */
  SHARED_EPT_VIOLATIONS,
  /** MapGPA calls. */
  MAP_GPA_CALLS,
  /** Pieces in which MapGPA calls went to user space. */
  MAP_GPA_CHUNKS,
  /** Pages of Secure EPT linked. */
  SEPT_PAGES;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
