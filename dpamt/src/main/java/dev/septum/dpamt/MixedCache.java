package dev.septum.dpamt;

import static dev.septum.kernel.PageAllocator.NO_PAGE;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A vCPU's pages as of v4 ({@code prealloc} of {@code struct vcpu_tdx}): one stack from which S-EPT
 * pages and PAMT pages are taken alike. Used by the vCPU's own thread.
 */
public final class MixedCache {

  private static final Logger log = LoggerFactory.getLogger(MixedCache.class);

  private final PageAllocator pages;
  private final PamtCache stack;
  private boolean warned;

  /** An empty cache, filled from and emptied into {@code pages}. */
  public MixedCache(Kernel kernel, PageAllocator pages) {
    this.pages = pages;
    this.stack = new PamtCache(kernel, pages);
  }

  /**
   * Fills up for {@code tables} S-EPT pages and as many pairs ({@code
   * tdx_topup_external_fault_cache}): {@link CacheSize#V4_FAULT} for five. May sleep; ENOMEM leaves
   * in what was got.
   */
  public Errno topup(Dpamt dpamt, int tables) {
    return stack.topup(tables * (1 + dpamt.entryPages()), Gfp.KERNEL_ACCOUNT);
  }

  /** Where gets of this vCPU take their pairs from. */
  public PamtCache pamtPages() {
    return stack;
  }

  /**
   * A page for a new S-EPT page, from the emergency reserve if the cache is empty: PAMT pages have
   * no such way out. {@link PageAllocator#NO_PAGE} if there is none either. Never sleeps.
   */
  public long allocSeptPage() {
    long page = stack.pop();
    if (page != NO_PAGE) {
      pages.changeOwner(page, PageOwner.PAMT_CACHE, PageOwner.EXTERNAL_PAGE_TABLE);
      return page;
    }
    if (!warned) {
      warned = true;
      log.warn("no page waits for a new S-EPT page: the topup was too small");
    }
    return pages.allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.ATOMIC);
  }

  /** Gives every page back to the allocator. */
  public void freeAll() {
    stack.freeAll();
  }
}
