package dev.septum.kvm;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;

/**
 * What the TDP MMU asks of a backend ({@code struct kvm_x86_ops}), at the generation of the TDX
 * huge page v3 series.
 *
 * <p>Every op is optional: one that a backend leaves out does nothing and returns 0, as {@code
 * KVM_X86_OP_OPTIONAL_RET0} has it. An op reports an expected failure by its status, and a broken
 * invariant by {@link Kvm#bugOn}; it never throws. Addresses of pages are pfns; "level" is always
 * the level of the entry in the parent table, except in {@link #freeExternalSpt}.
 */
public interface KvmX86Ops {

  /** The backend's name in reports. */
  default String name() {
    return getClass().getSimpleName();
  }

  /**
   * Puts a page table page into the external page table ({@code link_external_spt}).
   *
   * <p>mmu_lock held for read, the mirror entry frozen. A failure leaves nothing linked.
   *
   * @param level the level of the entry that will point to the page, 2M or more
   * @param externalSpt pfn of the page given to the backend
   */
  default Errno linkExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return Errno.OK;
  }

  /**
   * Maps a leaf in the external page table ({@code set_external_spte}).
   *
   * <p>mmu_lock held for read, the mirror entry frozen. A failure leaves nothing mapped.
   */
  default Errno setExternalSpte(Kvm kvm, long gfn, PageLevel level, long mirrorSpte) {
    return Errno.OK;
  }

  /**
   * Replaces a huge leaf of the external page table by a table of 512 smaller ones ({@code
   * split_external_spte}).
   *
   * <p>mmu_lock held as {@code mode} says, the mirror entry frozen. A failure changes nothing;
   * {@link Errno#EAGAIN} and {@link Errno#EBUSY} ask for another attempt, {@link Errno#EOPNOTSUPP}
   * under {@link LockMode#SHARED} for one under the write lock.
   *
   * @param level the level of the huge leaf
   * @param oldMirrorSpte the huge leaf's value
   * @param newExternalSpt pfn of the page for the new table
   */
  default Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    return Errno.OK;
  }

  /**
   * Unmaps a leaf from the external page table ({@code remove_external_spte}). mmu_lock held for
   * write. Must not fail: a failure bugs the VM.
   */
  default void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {}

  /**
   * Takes a page table page back from the backend when the VM goes ({@code free_external_spt}).
   * mmu_lock held for write.
   *
   * @param level the level of the table's own entries
   * @return not OK if the backend keeps the page: the caller must forget it then, not free it
   */
  default Errno freeExternalSpt(Kvm kvm, long gfn, PageLevel level, long externalSpt) {
    return Errno.OK;
  }

  /**
   * Takes a page for a new external page table from the vCPU's cache ({@code
   * alloc_external_fault_cache}); {@link PageAllocator#NO_PAGE} if a page could not be had.
   */
  default long allocExternalFaultCache(Vcpu vcpu) {
    return PageAllocator.NO_PAGE;
  }

  /**
   * Fills the vCPU's cache for {@code count} new external page tables ({@code
   * topup_external_fault_cache}). No spinning lock held; may sleep.
   */
  default Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return Errno.OK;
  }

  /** Empties the vCPU's cache ({@code free_external_fault_cache}). The vCPU never runs again. */
  default void freeExternalFaultCache(Vcpu vcpu) {}

  /**
   * Fills the VM's cache for one split ({@code topup_external_per_vm_split_cache}). No spinning
   * lock held; may sleep. Pages already queued stay queued on failure.
   */
  default Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return Errno.OK;
  }

  /**
   * Whether the VM's cache has too few pages for one split ({@code
   * need_topup_external_per_vm_split_cache}). mmu_lock held; takes no lock. The answer is final
   * under the write lock; under the read lock the split op itself asks again.
   */
  default boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return false;
  }

  /**
   * Empties the VM's cache ({@code free_external_per_vm_split_cache}). Takes no lock: nobody else
   * uses the cache any more.
   */
  default void freeExternalPerVmSplitCache(Kvm kvm) {}

  /**
   * The largest level at which a guest_memfd pfn may be mapped ({@code gmem_max_mapping_level});
   * {@link PageLevel#NONE} for no limit.
   */
  default PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    return PageLevel.NONE;
  }
}
