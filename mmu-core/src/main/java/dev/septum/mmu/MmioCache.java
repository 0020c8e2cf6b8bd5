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

  /** The generation that counts: that of the first address space, also in SMM. */
  long currentGeneration() {
    return mmu.memslots().generation(0);
  }

  /**
   * {@code vcpu_cache_mmio_info}.
   *
   * @param newGeneration the generation before the memslots were searched
   */
  void remember(long newGfn, long newGeneration) {
    gfn = newGfn;
    generation = newGeneration;
  }

  /** Whether there is still no memory at the address; gfn 0 is never remembered. */
  boolean matches(long gpa) {
    return gfn != 0 && gfn == gpa >>> 12 && generation == currentGeneration();
  }
}
