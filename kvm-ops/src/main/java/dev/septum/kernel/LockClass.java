package dev.septum.kernel;

/**
 * Every lock class of the emulated host, outermost first: a thread takes locks in this order only.
 *
 * <p>The order is that of {@code Documentation/virt/kvm/locking.rst}, with a backend's own locks,
 * of which the host-wide PAMT lock is the last, innermost.
 */
public enum LockClass {
  /** {@code kvm->lock}. */
  KVM_LOCK(true),
  /** {@code kvm->slots_lock}. */
  SLOTS_LOCK(true),
  /** A guest_memfd file's {@code mapping->invalidate_lock}. */
  GMEM_INVALIDATE_LOCK(true),
  /** A guest_memfd file's folios ({@code folio_lock}). */
  GMEM_FOLIO_LOCK(true),
  /** {@code kvm->mmu_lock}. */
  MMU_LOCK(false),
  /** {@code kvm->arch.tdp_mmu_pages_lock}. */
  TDP_MMU_PAGES_LOCK(false),
  /** A lock that a backend has around its external page table. */
  EXTERNAL_TABLE_LOCK(false),
  /** {@code kvm_tdx->prealloc_split_cache_lock}. */
  PREALLOC_SPLIT_CACHE_LOCK(false),
  /** {@code pamt_lock}, one for the whole host. */
  PAMT_LOCK(false);

  private final boolean sleeping;

  LockClass(boolean sleeping) {
    this.sleeping = sleeping;
  }

  /** Whether a holder of this class may sleep: true for mutexes, false for spinning locks. */
  public boolean mayHolderSleep() {
    return sleeping;
  }

  /** The lock's name in the kernel. */
  public String kernelName() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }
}
