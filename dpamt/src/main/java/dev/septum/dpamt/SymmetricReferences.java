package dev.septum.dpamt;

import static dev.septum.kernel.PageAllocator.RANGE_PAGES;

import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * References as of v6: a count leaves 0 and reaches it under {@code pamt_lock} only, in one step
 * with PAMT.ADD, PAMT.REMOVE or DEMOTE. So whoever holds the lock and sees 0 has the range to
 * itself.
 *
 * <p>Departs from v6 on purpose: {@code pamt_lock} is held over DEMOTE, and pairs that are not
 * needed go back to the cache.
 */
final class SymmetricReferences implements PamtReferences {

  private final PamtRanges ranges;
  private final PamtSeamcalls module;

  SymmetricReferences(PamtRanges ranges, PamtSeamcalls module) {
    this.ranges = ranges;
    this.module = module;
  }

  @Override
  public Installation install(long pfn, PagePair pair) {
    PamtAddStatus status;
    ranges.lock().lock();
    try {
      // Another get may have installed a pair since this one found the count at 0.
      if (ranges.refcounts().incrementUnlessZero(pfn)) {
        ranges.counters().increment(PamtCounter.LOST_RACES);
        return Installation.NOT_NEEDED;
      }
      status = module.add(PamtRefcounts.rangeOf(pfn), pair);
      if (status == PamtAddStatus.ADDED) {
        ranges.recordInstalled(pair, PamtCounter.PAIRS_ADDED);
        ranges.refcounts().set(pfn, 1);
        return Installation.INSTALLED;
      }
    } finally {
      ranges.lock().unlock();
    }
    ranges.recordAddFailure(pfn, status);
    return Installation.REFUSED;
  }

  @Override
  public @Nullable PagePair drop(long pfn) {
    if (ranges.refcounts().decrementUnlessLast(pfn)) {
      ranges.counters().increment(PamtCounter.FAST_PUTS);
      return null;
    }
    ranges.counters().increment(PamtCounter.SLOW_PUTS);
    ranges.lock().lock();
    try {
      // A get without the lock may have come since this put found the count at 1.
      long users = ranges.refcounts().decrementUnlessZero(pfn);
      if (users == 0) {
        throw new IllegalStateException("put of pfn 0x%x, which nobody got".formatted(pfn));
      }
      if (users > 1) {
        return null;
      }
      PagePair pair = module.remove(PamtRefcounts.rangeOf(pfn));
      if (pair != null) {
        return ranges.recordRemoved(pair);
      }
      // The pair is still there: a count of 0 would let the next get add another.
      ranges.refcounts().set(pfn, 1);
      ranges.markStuck(pfn);
    } finally {
      ranges.lock().unlock();
    }
    ranges.recordRemoveFailure(pfn);
    return null;
  }

  @Override
  public @Nullable PagePair draw(PamtCache cache) {
    return cache.popPair();
  }

  /** v4 to v6 free it; but the cache was filled for this caller, who may come again. */
  @Override
  public void giveBack(PagePair pair, PamtCache cache) {
    cache.push(pair);
  }

  /**
   * Holds {@code pamt_lock} around the SEAMCALL, since the module locks the ranges that the pair's
   * own pages are in, and a PAMT.ADD there would make one of the two fail.
   */
  @Override
  public long demote(long guestPfn, PagePair pair, LongSupplier seamcall) {
    ranges.lock().lock();
    try {
      long users = ranges.refcounts().get(guestPfn);
      if (users != 0) {
        throw new IllegalStateException(
            "DEMOTE of pfn 0x%x, whose range has a pair and %d users".formatted(guestPfn, users));
      }
      long status = seamcall.getAsLong();
      if (status == 0) {
        ranges.recordInstalled(pair, PamtCounter.PAIRS_DEMOTED);
        ranges.refcounts().set(guestPfn, RANGE_PAGES);
      }
      return status;
    } finally {
      ranges.lock().unlock();
    }
  }
}
