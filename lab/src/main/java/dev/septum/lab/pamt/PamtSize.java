package dev.septum.lab.pamt;

/** How much PAMT memory of a size needs; bytes in, KiB out. */
final class PamtSize {

  static final long GIB = 1L << 30;
  static final long RANGE = 2L << 20;

  /** Bytes of one entry, at every level. */
  private static final long ENTRY = 16;

  private static final long PAGE = 4096;
  private static final long KIB_PER_GIB = ((GIB / PAGE + GIB / RANGE) * ENTRY) >> 10;

  private PamtSize() {}

  /** The entries of a level: 0 for 4K, 1 for 2M, 2 for 1G. */
  static long entries(long bytes, int level) {
    return pagesKib((bytes >>> (12 + 9 * level)) * ENTRY);
  }

  /** The static PAMT of all levels. */
  static long all(long bytes) {
    return entries(bytes, 0) + entries(bytes, 1) + entries(bytes, 2);
  }

  /** What Dynamic PAMT has instead of 4K entries: a bit for each page. */
  static long bitmap(long bytes) {
    return pagesKib((bytes / PAGE + 7) / 8);
  }

  /** The part of Dynamic PAMT that is allocated at boot. */
  static long dynamicStatic(long bytes) {
    return bitmap(bytes) + entries(bytes, 1) + entries(bytes, 2);
  }

  /**
   * The GiB whose static PAMT this is. Each GiB has 4104 KiB of 4K and 2M entries, and what is left
   * over are whole pages of 1G entries, too few of them to make another GiB.
   */
  static long gibOf(long pamtKib) {
    return pamtKib / KIB_PER_GIB;
  }

  /** Bytes in whole pages, as KiB. */
  static long pagesKib(long bytes) {
    return (bytes + PAGE - 1) / PAGE * (PAGE >> 10);
  }
}
