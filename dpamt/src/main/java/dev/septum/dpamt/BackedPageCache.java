package dev.septum.dpamt;

import static com.google.common.base.Preconditions.checkArgument;
import static dev.septum.kernel.PageAllocator.NO_PAGE;

import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * A vCPU's S-EPT pages as of v5: a {@code kvm_mmu_memory_cache} whose pages have their PAMT
 * already, so that each that waits here keeps its range's pair installed. Used by the vCPU's own
 * thread.
 */
public final class BackedPageCache {

  /** What a topup fills the cache to, once it has to fill it at all. */
  public static final int CAPACITY = 40;

  private final ControlPages source;
  private final Deque<Long> pages = new ArrayDeque<>();

  /** An empty cache of pages from {@code source}. */
  public BackedPageCache(ControlPages source) {
    this.source = source;
  }

  /** How many pages wait. */
  public int count() {
    return pages.size();
  }

  /**
   * Does nothing if {@code min} pages wait; else fills to {@link #CAPACITY}. May sleep.
   *
   * @return {@link Errno#ENOMEM} if there are fewer than {@code min} in the end; what was got stays
   */
  public Errno topup(int min) {
    checkArgument(min >= 0 && min <= CAPACITY, "a cache of %s holds no %s pages", CAPACITY, min);
    if (count() >= min) {
      return Errno.OK;
    }
    while (count() < CAPACITY) {
      long page = source.alloc();
      if (page == NO_PAGE) {
        return count() >= min ? Errno.OK : Errno.ENOMEM;
      }
      pages.push(page);
    }
    return Errno.OK;
  }

  /** Takes the page that came last; {@link PageAllocator#NO_PAGE} when empty. */
  public long pop() {
    Long page = pages.poll();
    return page == null ? NO_PAGE : page;
  }

  /** Gives every page back, and its PAMT. */
  public void freeAll() {
    pages.forEach(source::free);
    pages.clear();
  }
}
