package dev.septum.dpamt;

import static dev.septum.kernel.PageAllocator.NO_PAGE;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;

/**
 * Pages for the module's own structures, with their PAMT from allocation to free ({@code
 * tdx_alloc_control_page}, {@code tdx_free_control_page}): TDR, TDCS, TDVPR and TDCX pages, and in
 * v5 S-EPT pages as well.
 */
public final class ControlPages {

  private final Dpamt dpamt;
  private final PageAllocator pages;
  private final PageOwner owner;

  /** Pages that belong to {@code owner}. */
  public ControlPages(Dpamt dpamt, PageAllocator pages, PageOwner owner) {
    this.dpamt = dpamt;
    this.pages = pages;
    this.owner = owner;
  }

  /**
   * A page that the module can take; {@link PageAllocator#NO_PAGE} if it or its PAMT can't be had,
   * and then nothing changed. No lock held; may sleep.
   */
  public long alloc() {
    long page = pages.allocPage(owner, Gfp.KERNEL_ACCOUNT);
    if (page == NO_PAGE) {
      return NO_PAGE;
    }
    if (dpamt.get(page) != Errno.OK) {
      pages.freePage(page, owner);
      return NO_PAGE;
    }
    return page;
  }

  /** Gives a page back that the module has no claim on. */
  public void free(long page) {
    dpamt.put(page);
    pages.freePage(page, owner);
  }
}
