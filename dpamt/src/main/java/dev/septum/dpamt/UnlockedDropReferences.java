package dev.septum.dpamt;

import static dev.septum.kernel.PageAllocator.NO_PAGE;
import static dev.septum.kernel.PageAllocator.RANGE_PAGES;

import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * References as posted in v4 of Dynamic PAMT and v3 of the huge pages: a put drops its count
 * without a lock and takes {@code pamt_lock} afterwards, if it brought the count to 0. In between
 * the range has a pair and a count of 0, and its next user is told by the module.
 *
 * <p>Defects included; docs/dpamt.md lists them.
 */
final class UnlockedDropReferences implements PamtReferences {

  private final PamtRanges ranges;
  private final PamtSeamcalls module;

  UnlockedDropReferences(PamtRanges ranges, PamtSeamcalls module) {
    this.ranges = ranges;
    this.module = module;
  }

  @Override
  public Installation install(long pfn, PagePair pair) {
    ranges.lock().lock();
    try {
      // Another get may have installed a pair since this one found the count at 0.
      if (ranges.refcounts().incrementUnlessZero(pfn)) {
        ranges.counters().increment(PamtCounter.LOST_RACES);
        return Installation.NOT_NEEDED;
      }
      return add(pfn, pair);
    } finally {
      ranges.lock().unlock();
    }
  }

  private Installation add(long pfn, PagePair pair) {
    PamtAddStatus status = module.add(PamtRefcounts.rangeOf(pfn), pair);
    switch (status) {
      case ADDED -> {
        ranges.recordInstalled(pair, PamtCounter.PAIRS_ADDED);
        ranges.refcounts().set(pfn, 1);
        return Installation.INSTALLED;
      }
      case RANGE_NOT_FREE -> {
        // A put dropped the count to 0 and waits for the lock: it will see 1 and leave the pair.
        ranges.counters().increment(PamtCounter.PAIRS_RESCUED);
        ranges.refcounts().set(pfn, 1);
        return Installation.NOT_NEEDED;
      }
      case BUSY, FAILED -> {
        // The return value is still 0: the caller goes on with nothing installed and counted.
        ranges.recordAddFailure(pfn, status);
        return Installation.NOT_NEEDED;
      }
    }
    throw new IllegalStateException("PAMT.ADD came to " + status);
  }

  @Override
  public @Nullable PagePair drop(long pfn) {
    if (ranges.refcounts().addAndGet(pfn, -1) != 0) {
      ranges.counters().increment(PamtCounter.FAST_PUTS);
      return null;
    }
    ranges.counters().increment(PamtCounter.SLOW_PUTS);
    ranges.lock().lock();
    try {
      // A get that met the pair in the module may have set the count to 1 in between.
      if (ranges.refcounts().get(pfn) != 0) {
        return null;
      }
      PagePair pair = module.remove(PamtRefcounts.rangeOf(pfn));
      if (pair != null) {
        return ranges.recordRemoved(pair);
      }
      ranges.refcounts().addAndGet(pfn, 1);
      ranges.markStuck(pfn);
    } finally {
      ranges.lock().unlock();
    }
    ranges.recordRemoveFailure(pfn);
    return null;
  }

  /** Takes page by page: a cache with one page loses it to the allocator. */
  @Override
  public @Nullable PagePair draw(PamtCache cache) {
    long first = cache.pop();
    if (first == NO_PAGE) {
      return null;
    }
    long second = cache.pop();
    if (second == NO_PAGE) {
      ranges.free(first);
      return null;
    }
    return new PagePair(first, second);
  }

  /** To the allocator: nothing is ever pushed back. */
  @Override
  public void giveBack(PagePair pair, PamtCache cache) {
    ranges.free(pair);
  }

  /** Without {@code pamt_lock}: a PAMT.ADD of another TD may come in between. */
  @Override
  public long demote(long guestPfn, PagePair pair, LongSupplier seamcall) {
    long status = seamcall.getAsLong();
    if (status == 0) {
      ranges.recordInstalled(pair, PamtCounter.PAIRS_DEMOTED);
      if (!ranges.refcounts().compareAndSet(guestPfn, 0, RANGE_PAGES)) {
        ranges.recordDemoteOfUsedRange(guestPfn);
      }
    }
    return status;
  }
}
