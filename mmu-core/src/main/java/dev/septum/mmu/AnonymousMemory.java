package dev.septum.mmu;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kvm.PageLevel;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** A VMM's anonymous memory: 4 KiB pages, each there from its first touch until it is discarded. */
public final class AnonymousMemory implements HostMm {

  private final PageAllocator pages;
  private final Map<Long, Long> pfnOfPage = new ConcurrentHashMap<>();

  /** An address space with nothing populated. */
  public AnonymousMemory(PageAllocator pages) {
    this.pages = pages;
  }

  @Override
  public long faultIn(long hva, boolean write) {
    Long pfn = pfnOfPage.get(hva >>> 12);
    if (pfn != null) {
      return pfn;
    }
    long fresh = pages.allocPage(PageOwner.USER_MEMORY, Gfp.KERNEL_ACCOUNT);
    if (fresh == PageAllocator.NO_PAGE) {
      return fresh;
    }
    Long winner = pfnOfPage.putIfAbsent(hva >>> 12, fresh);
    if (winner != null) {
      // Another thread populated the page in between; its page is the one.
      pages.freePage(fresh, PageOwner.USER_MEMORY);
      return winner;
    }
    return fresh;
  }

  @Override
  public boolean isWritable(long hva) {
    return true;
  }

  @Override
  public PageLevel mappingLevel(long hva) {
    return PageLevel.LEVEL_4K;
  }

  /** Gives back the pages of a range of bytes ({@code MADV_DONTNEED}); none may be mapped. */
  public void discard(long hva, long bytes) {
    for (long page = hva >>> 12; page < (hva + bytes) >>> 12; page++) {
      discardPage(page);
    }
  }

  /** Gives everything back: the VMM exits. */
  public void discardAll() {
    pfnOfPage.keySet().forEach(this::discardPage);
  }

  private void discardPage(long page) {
    Long pfn = pfnOfPage.remove(page);
    if (pfn != null) {
      pages.freePage(pfn, PageOwner.USER_MEMORY);
    }
  }

  /** Pages populated. */
  public long populated() {
    return pfnOfPage.size();
  }
}
