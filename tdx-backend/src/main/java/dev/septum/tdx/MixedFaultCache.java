package dev.septum.tdx;

import dev.septum.dpamt.MixedCache;
import dev.septum.dpamt.PamtCache;
import dev.septum.kvm.Errno;

/**
 * As posted in Dynamic PAMT v4: S-EPT pages and PAMT pages from one stack, three pages for each
 * table.
 */
final class MixedFaultCache implements FaultCache {

  private final TdxHost tdxHost;
  private final MixedCache cache;

  MixedFaultCache(TdxHost tdxHost) {
    this.tdxHost = tdxHost;
    this.cache = new MixedCache(tdxHost.host().kernel(), tdxHost.host().pages());
  }

  @Override
  public Errno topup(int count) {
    return cache.topup(tdxHost.dpamt(), count);
  }

  @Override
  public long allocSeptPage() {
    return cache.allocSeptPage();
  }

  @Override
  public int septPages() {
    return 0; // Until one is taken, nothing says what a page will be.
  }

  @Override
  public PamtCache pamtPages() {
    return cache.pamtPages();
  }

  @Override
  public void free() {
    cache.freeAll();
  }
}
