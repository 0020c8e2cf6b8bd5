package dev.septum.dpamt;

import static com.google.common.base.Preconditions.checkArgument;
import static dev.septum.kernel.PageAllocator.NO_PAGE;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SharedWord;
import dev.septum.kvm.Errno;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A LIFO stack of pages waiting for PAMT use ({@code struct tdx_prealloc}).
 *
 * <p>It has no lock: who shares it guards every call but {@link #count} with a lock of theirs. Its
 * pages belong to {@link PageOwner#PAMT_CACHE}.
 */
public final class PamtCache {

  private final PageAllocator pages;
  private final SharedWord count;
  private long[] stack = new long[4];

  /** An empty cache, filled from and emptied into {@code pages}. */
  public PamtCache(Kernel kernel, PageAllocator pages) {
    this.pages = pages;
    this.count = kernel.word(0).named("pamt_cache cnt");
  }

  /** How many pages wait. Read once, without a lock, from any thread. */
  public int count() {
    return (int) count.get();
  }

  /** Puts a page on top; it belongs to {@link PageOwner#PAMT_CACHE} already. */
  public void push(long pfn) {
    PageOwner owner = pages.ownerOf(pfn);
    if (owner != PageOwner.PAMT_CACHE) {
      throw new IllegalStateException(
          "pfn 0x%x in a PAMT cache belongs to %s".formatted(pfn, owner.tag()));
    }
    int top = count();
    if (top == stack.length) {
      stack = Arrays.copyOf(stack, 2 * top);
    }
    stack[top] = pfn;
    count.set(top + 1);
  }

  /** Undoes {@link #popPair}: the pair is on top again, in the order it had. */
  public void push(PagePair pair) {
    push(pair.second());
    push(pair.first());
  }

  /** Takes the page on top; {@link PageAllocator#NO_PAGE} when empty. */
  public long pop() {
    int top = count();
    if (top == 0) {
      return NO_PAGE;
    }
    count.set(top - 1);
    return stack[top - 1];
  }

  /**
   * Takes the two pages on top. With fewer than two there, takes none and returns null: a page
   * taken alone would be lost.
   */
  public @Nullable PagePair popPair() {
    return count() < Dpamt.PAGES_PER_PAIR ? null : new PagePair(pop(), pop());
  }

  /**
   * Allocates until at least {@code minPages} wait. For a cache with one user: it allocates where a
   * sharer would hold the lock.
   *
   * @return {@link Errno#ENOMEM} when pages ran out; those queued until then stay
   */
  public Errno topup(int minPages, Gfp gfp) {
    checkArgument(minPages >= 0, "a cache cannot hold %s pages", minPages);
    while (count() < minPages) {
      long pfn = pages.allocPage(PageOwner.PAMT_CACHE, gfp);
      if (pfn == NO_PAGE) {
        return Errno.ENOMEM;
      }
      push(pfn);
    }
    return Errno.OK;
  }

  /** Gives every page back to the allocator. */
  public void freeAll() {
    for (long pfn = pop(); pfn != NO_PAGE; pfn = pop()) {
      pages.freePage(pfn, PageOwner.PAMT_CACHE);
    }
  }
}
