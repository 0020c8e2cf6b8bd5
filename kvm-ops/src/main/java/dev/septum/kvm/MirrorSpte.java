package dev.septum.kvm;

/** What a backend may read in the value of a mirror SPTE. */
public final class MirrorSpte {

  /** Bits 51:12. */
  public static final long PFN_MASK = ((1L << 52) - 1) & -4096L;

  private MirrorSpte() {}

  /** The host frame of a leaf ({@code spte_to_pfn}). */
  public static long pfn(long spte) {
    return (spte & PFN_MASK) >>> 12;
  }
}
