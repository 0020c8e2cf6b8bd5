package dev.septum.kernel;

/** Who has a page of host memory. Every page has exactly one owner at all times. */
public enum PageOwner {
  /** Nobody: the page can be handed out. */
  FREE,
  /** User space: anonymous memory of the VMM, mapped shared into a guest. */
  USER_MEMORY,
  /** A guest_memfd folio: private guest memory. */
  GUEST_MEMORY,
  /** KVM: a page table that hardware walks, or the mirror of one. */
  MMU_PAGE_TABLE,
  /** KVM: a page meant for an external page table, not yet given to the module. */
  EXTERNAL_PAGE_TABLE,
  /** The TDX module: a Secure EPT page. */
  SEPT_PAGE,
  /** KVM: a page waiting in a cache for Dynamic PAMT. */
  PAMT_CACHE,
  /** The TDX module: half of an installed PAMT page pair. */
  PAMT_PAGE,
  /** The TDX module: TDR, TDCS, TDVPR or TDCX page of a TD. */
  TD_CONTROL;

  /** The tag as reports print it. */
  public String tag() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }
}
