package dev.septum.dpamt;

/**
 * A 4K page that the module has just let go of.
 *
 * @param wasLastOfRange the removal hint: no page of its 2 MiB range was in the module's use then
 */
public record ReleasedPage(long pfn, boolean wasLastOfRange) {

  private static final long REMOVAL_HINT = 1L << 62;
  private static final long HPA = 0x000F_FFFF_FFFF_F000L;

  /**
   * Reads the address word that PAGE.REMOVE, PAGE.PROMOTE, PAGE.RELOCATE and SEPT.REMOVE return in
   * RCX: the HPA, and the hint in bit 62.
   */
  public static ReleasedPage of(long word) {
    return new ReleasedPage((word & HPA) >>> 12, (word & REMOVAL_HINT) != 0);
  }

  /** Reads what PAGE.RECLAIM returns of the page at {@code pfn}: R9 has the hint alone. */
  public static ReleasedPage reclaimed(long pfn, long r9) {
    return new ReleasedPage(pfn, (r9 & REMOVAL_HINT) != 0);
  }
}
