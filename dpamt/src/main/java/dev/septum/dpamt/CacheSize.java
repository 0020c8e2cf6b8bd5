package dev.septum.dpamt;

/** How many pages a cache must have before a fault or a split, in each version of the series. */
public enum CacheSize {
  /** v4, for each vCPU: S-EPT pages, and a pair for each of them, in one stack. */
  V4_FAULT(5, 5),
  /** Huge pages v3, for each VM: the new S-EPT page's pair and the one for DEMOTE. */
  V3_SPLIT(0, 2),
  /** v5, for each vCPU: pairs only; S-EPT pages wait in a {@link BackedPageCache}. */
  V5_FAULT(0, 5),
  /** v5, for a vCPU or a VM: the pair for DEMOTE, as the new S-EPT page has its own. */
  V5_SPLIT(0, 1),
  /** The alternative after v5, whose S-EPT pages have no PAMT until they are linked. */
  ALTERNATIVE_FAULT(0, 6),
  /** The same for a split. */
  ALTERNATIVE_SPLIT(0, 2),
  /** v6, for each vCPU: four tables below the root, and the guest page. */
  V6_FAULT(0, 5);

  private final int septPages;
  private final int pairs;

  CacheSize(int septPages, int pairs) {
    this.septPages = septPages;
    this.pairs = pairs;
  }

  /** The pages on this host: without Dynamic PAMT there are no pairs. */
  public int pages(Dpamt dpamt) {
    return septPages + pairs * dpamt.entryPages();
  }
}
