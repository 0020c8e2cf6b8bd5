package dev.septum.mmu;

import org.jspecify.annotations.Nullable;

/**
 * What user space says of a memslot ({@code struct kvm_userspace_memory_region2}).
 *
 * @param slot address space in bits 31:16, the slot's number below
 * @param baseGfn first frame
 * @param pages frames; 0 deletes the slot
 * @param hva user address of the shared memory behind it, in bytes
 * @param flags {@link #LOG_DIRTY_PAGES}, {@link #READONLY}, {@link #GUEST_MEMFD}
 * @param gmem the file behind private memory, or null; not looked at without GUEST_MEMFD
 * @param gmemOffset first frame of that file
 */
public record MemoryRegion(
    int slot,
    long baseGfn,
    long pages,
    long hva,
    int flags,
    @Nullable GuestMemfd gmem,
    long gmemOffset) {

  /** {@code KVM_MEM_LOG_DIRTY_PAGES}: record which pages the guest writes. */
  public static final int LOG_DIRTY_PAGES = 1;

  /** {@code KVM_MEM_READONLY}: a guest write is an MMIO access. */
  public static final int READONLY = 2;

  /** {@code KVM_MEM_GUEST_MEMFD}: private memory comes from a guest_memfd. */
  public static final int GUEST_MEMFD = 4;

  /** Ordinary memory. */
  public static MemoryRegion shared(int slot, long baseGfn, long pages, long hva) {
    return new MemoryRegion(slot, baseGfn, pages, hva, 0, null, 0);
  }

  /** Memory that can be private, backed by a guest_memfd from frame {@code gmemOffset} on. */
  public static MemoryRegion withGmem(
      int slot, long baseGfn, long pages, long hva, GuestMemfd gmem, long gmemOffset) {
    return new MemoryRegion(slot, baseGfn, pages, hva, GUEST_MEMFD, gmem, gmemOffset);
  }

  /** The request to delete a slot. */
  public static MemoryRegion delete(int slot) {
    return new MemoryRegion(slot, 0, 0, 0, 0, null, 0);
  }

  /** The same region with these flags besides its own GUEST_MEMFD. */
  public MemoryRegion withFlags(int newFlags) {
    return new MemoryRegion(
        slot, baseGfn, pages, hva, newFlags | (flags & GUEST_MEMFD), gmem, gmemOffset);
  }

  boolean has(int flag) {
    return (flags & flag) != 0;
  }

  int asId() {
    return slot >>> 16;
  }
}
