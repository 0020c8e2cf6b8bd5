package dev.septum.mmu;

import org.jspecify.annotations.Nullable;

/**
 * What user space says of a memslot ({@code struct kvm_userspace_memory_region2}).
 *
 * @param slot the slot's number
 * @param baseGfn first frame
 * @param pages frames; 0 deletes the slot
 * @param hva user address of the shared memory behind it, in bytes
 * @param readOnly whether the guest may only read ({@code KVM_MEM_READONLY})
 * @param gmem the file behind private memory ({@code KVM_MEM_GUEST_MEMFD}), or null
 * @param gmemOffset first frame of that file
 */
public record MemoryRegion(
    int slot,
    long baseGfn,
    long pages,
    long hva,
    boolean readOnly,
    @Nullable GuestMemfd gmem,
    long gmemOffset) {

  /** Ordinary memory. */
  public static MemoryRegion shared(int slot, long baseGfn, long pages, long hva) {
    return new MemoryRegion(slot, baseGfn, pages, hva, false, null, 0);
  }

  /** Memory that can be private, backed by a guest_memfd from frame {@code gmemOffset} on. */
  public static MemoryRegion withGmem(
      int slot, long baseGfn, long pages, long hva, GuestMemfd gmem, long gmemOffset) {
    return new MemoryRegion(slot, baseGfn, pages, hva, false, gmem, gmemOffset);
  }

  /** The request to delete a slot. */
  public static MemoryRegion delete(int slot) {
    return new MemoryRegion(slot, 0, 0, 0, false, null, 0);
  }
}
