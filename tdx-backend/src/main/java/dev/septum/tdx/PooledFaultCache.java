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
 * S-EPT pages and PAMT pages in a pool each, so that neither can use up what the other was topped
 * up for.
 */
final class PooledFaultCache implements FaultCache {

  private final TdxHost tdxHost;
  private final PageAllocator pages;
  private final Deque<Long> septPages = new ArrayDeque<>();
  private final PamtCache pamtPages;

  PooledFaultCache(TdxHost tdxHost) {
    this.tdxHost = tdxHost;
    this.pages = tdxHost.host().pages();
    this.pamtPages = new PamtCache(tdxHost.host().kernel(), pages);
  }

  @Override
  public Errno topup(int count) {
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

  @Override
  public long allocSeptPage() {
    Long page = septPages.poll();
    return page == null ? PageAllocator.NO_PAGE : page;
  }

  @Override
  public int septPages() {
    return septPages.size();
  }

  @Override
  public PamtCache pamtPages() {
    return pamtPages;
  }

  @Override
  public void free() {
    septPages.forEach(page -> pages.freePage(page, PageOwner.EXTERNAL_PAGE_TABLE));
    septPages.clear();
    pamtPages.freeAll();
  }
}
