package dev.septum.kernel;

/** Where the page allocator takes single pages from. Folios always come from whole 2 MiB ranges. */
public enum Placement {
  /**
   * The lowest free page of a broken range, and of a whole one only when there is none: neighbours
   * in time are neighbours in memory.
   */
  SEQUENTIAL,
  /** Each page from another 2 MiB range, round and round: the worst case for Dynamic PAMT. */
  SCATTERED,
  /** A 2 MiB range drawn from the seed for each page. */
  SEEDED
}
