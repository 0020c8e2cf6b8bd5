package dev.septum.kvm;

import dev.septum.kernel.LockMode;
import dev.septum.kernel.PageAllocator;

/**
 * What the TDP MMU asks of a backend ({@code struct kvm_x86_ops}), at the generation of the TDX
 * huge page v3 series.
 *
 * <p>Every op is optional: one that a backend leaves out does nothing and returns 0, as {@code
 * KVM_X86_OP_OPTIONAL_RET0} has it. Addresses of pages are pfns; "level" is always the level of the
 * entry in the parent table, except in {@link #freeExternalSpt}.
 *
 * <p>{@code docs/spec.md} is the contract: the locks that each op is called with, the statuses that
 * it may return, and the rules that are named here. All ops keep CALL.1 to CALL.6.
 */
public interface KvmX86Ops {

  /** The backend's name in reports. */
  default String name() {
    return getClass().getSimpleName();
  }

  /**
   * Puts a page table page into the external page table ({@code link_external_spt}).
   *
   * <p>mmu_lock held for read, the mirror entry frozen. On success the page is the backend's, which
   * says so by {@link PageAllocator#changeOwner} from external_page_table to sept_page; a failure
   * leaves nothing linked. Rules: TABLE.1, FAIL.1, KVM.2, KVM.3.
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
   * <p>mmu_lock held for read, the mirror entry frozen. A failure leaves nothing mapped. Rules:
   * TABLE.2, TABLE.6, RACE.1, KVM.2, KVM.3.
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
   * under {@link LockMode#SHARED} for one under the write lock. Rules: CAP.4, CAP.5, SPLIT.1 to
   * SPLIT.7, CACHE.7 to CACHE.9, RACE.3, KVM.4 to KVM.6.
   *
   * @param level the level of the huge leaf
   * @param oldMirrorSpte the huge leaf's value
   * @param newExternalSpt pfn of the page for the new table, whose owner changes as in {@link
   *     #linkExternalSpt}
   */
  default Errno splitExternalSpte(
      Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte, long newExternalSpt, LockMode mode) {
    return Errno.OK;
  }

  /**
   * Unmaps a leaf from the external page table ({@code remove_external_spte}). mmu_lock held for
   * write. Must not fail: a failure bugs the VM. Rules: TABLE.3, RACE.2.
   */
  default void removeExternalSpte(Kvm kvm, long gfn, PageLevel level, long oldMirrorSpte) {}

  /**
   * Takes a page table page back from the backend when the VM goes ({@code free_external_spt}).
   * mmu_lock held for write. On success its owner is external_page_table again. Rules: TABLE.4,
   * END.1, END.4, KVM.10.
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
   * mmu_lock held for read. Rules: FAULT.1, FAULT.3, FAULT.4.
   */
  default long allocExternalFaultCache(Vcpu vcpu) {
    return PageAllocator.NO_PAGE;
  }

  /**
   * Fills the vCPU's cache for {@code count} new external page tables ({@code
   * topup_external_fault_cache}). No spinning lock held; may sleep. Rules: FAULT.1, FAULT.2,
   * FAULT.6.
   */
  default Errno topupExternalFaultCache(Vcpu vcpu, int count) {
    return Errno.OK;
  }

  /**
   * Empties the vCPU's cache ({@code free_external_fault_cache}). The vCPU never runs again. Rule:
   * FAULT.5.
   */
  default void freeExternalFaultCache(Vcpu vcpu) {}

  /**
   * Fills the VM's cache for one split ({@code topup_external_per_vm_split_cache}). No spinning
   * lock held; may sleep. Pages already queued stay queued on failure. Rules: CACHE.1 to CACHE.5,
   * CACHE.10, CACHE.13.
   */
  default Errno topupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return Errno.OK;
  }

  /**
   * Whether the VM's cache has too few pages for one split ({@code
   * need_topup_external_per_vm_split_cache}). mmu_lock held; takes no lock. The answer is final
   * under the write lock; under the read lock the split op itself asks again. Rules: CAP.6,
   * CACHE.1, CACHE.6 to CACHE.8, KVM.8.
   */
  default boolean needTopupExternalPerVmSplitCache(Kvm kvm, PageLevel level) {
    return false;
  }

  /**
   * Empties the VM's cache ({@code free_external_per_vm_split_cache}). Takes no lock: nobody else
   * uses the cache any more. Rules: CACHE.11, CACHE.12.
   */
  default void freeExternalPerVmSplitCache(Kvm kvm) {}

  /**
   * The largest level at which a guest_memfd pfn may be mapped ({@code gmem_max_mapping_level});
   * {@link PageLevel#NONE} for no limit. Rules: CAP.2, CAP.3.
   */
  default PageLevel gmemMaxMappingLevel(Kvm kvm, long pfn, boolean isPrivate) {
    return PageLevel.NONE;
  }
}
