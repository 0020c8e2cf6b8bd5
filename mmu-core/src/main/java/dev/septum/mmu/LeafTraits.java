package dev.septum.mmu;

/**
 * What a new leaf is like, beyond level and pfn.
 *
 * @param hostWritable whether the host maps the page writable
 * @param prefetch whether nobody has accessed the page yet
 * @param writeTracked whether the gfn holds a guest page table that KVM shadows
 */
public record LeafTraits(boolean hostWritable, boolean prefetch, boolean writeTracked) {

  /** A page that the guest just touched and may write. */
  public static final LeafTraits WRITABLE = new LeafTraits(true, false, false);
}
