package dev.septum.kvm;

/**
 * Something that a backend may be able to do, and that nobody asks of it if it does not say so.
 *
 * <p>{@code docs/spec.md} says what follows from each, and from its absence.
 */
public enum Capability {
  /** Private memory is mapped by the backend's own page table; without it VMs have none. */
  EXTERNAL_PAGE_TABLE("private memory in an external page table"),
  /** Private memory can be mapped at 2M, and such a leaf be split. */
  HUGE_LEAFS("private 2M leafs and their split"),
  /** Leafs can be split under the read mmu_lock too. */
  SHARED_SPLIT("splits under the read mmu_lock"),
  /** A split may need pages beside the new table's: the backend keeps a per-VM cache of them. */
  SPLIT_CACHE("a per-VM cache of pages for splits");

  private final String text;

  Capability(String text) {
    this.text = text;
  }

  /** The capability in words. */
  public String text() {
    return text;
  }
}
