package dev.septum.mmu;

/**
 * The gfn at which a vCPU last found no memory, good for one memslot generation ({@code
 * vcpu->arch.mmio_gfn}). Used by the vCPU's own thread.
 */
final class MmioCache {

  private final KvmMmu mmu;
  private long gfn;
  private long generation;

  MmioCache(KvmMmu mmu) {
    this.mmu = mmu;
  }

  /** {@code vcpu_cache_mmio_info}. */
  void remember(long newGfn) {
    gfn = newGfn;
    generation = mmu.memslots().generation(0);
  }

  /** Whether there is still no memory at the address; gfn 0 is never remembered. */
  boolean matches(long gpa) {
    return gfn != 0 && gfn == gpa >>> 12 && generation == mmu.memslots().generation(0);
  }
}
