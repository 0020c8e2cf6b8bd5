package dev.septum.tdx;

import dev.septum.dpamt.Dpamt;
import dev.septum.dpamt.PamtCache;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.Errno;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * A vCPU's pages for one fault: for new S-EPT pages, and for the PAMT of those and of the guest
 * page ({@code prealloc} of {@code struct vcpu_tdx}). Used by the vCPU's own thread.
 */
final class FaultCache {

  private final TdxHost tdxHost;
  private final PageAllocator pages;
  private final Deque<Long> septPages = new ArrayDeque<>();
  private final PamtCache pamtPages;

  FaultCache(TdxHost tdxHost) {
    this.tdxHost = tdxHost;
    this.pages = tdxHost.host().pages();
    this.pamtPages = new PamtCache(tdxHost.host().kernel(), pages);
  }

  /** Fills up for {@code count} S-EPT pages; ENOMEM leaves in what was got. May sleep. */
  Errno topup(int count) {
    while (septPages.size() < count) {
      long page = pages.allocPage(PageOwner.EXTERNAL_PAGE_TABLE, Gfp.KERNEL_ACCOUNT);
      if (page == PageAllocator.NO_PAGE) {
        return Errno.ENOMEM;
      }
      septPages.push(page);
    }
    return tdxHost.dpamt().isEnabled()
        ? pamtPages.topup(count * Dpamt.PAGES_PER_PAIR, Gfp.KERNEL_ACCOUNT)
        : Errno.OK;
  }

  /** A page for a new S-EPT page; {@link PageAllocator#NO_PAGE} if none is left. */
  long allocSeptPage() {
    Long page = septPages.poll();
    return page == null ? PageAllocator.NO_PAGE : page;
  }

  int septPages() {
    return septPages.size();
  }

  PamtCache pamtPages() {
    return pamtPages;
  }

  void free() {
    septPages.forEach(page -> pages.freePage(page, PageOwner.EXTERNAL_PAGE_TABLE));
    septPages.clear();
    pamtPages.freeAll();
  }
}
