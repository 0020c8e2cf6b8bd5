package dev.septum.dpamt;

import static dev.septum.kernel.PageAllocator.NO_PAGE;

import com.google.common.collect.ImmutableSortedSet;
import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Stats;
import java.util.HashSet;
import java.util.Set;
import java.util.SortedSet;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The 2 MiB ranges of the host: their counts, the pairs that they have, and the lock over both. */
final class PamtRanges {

  private static final Logger log = LoggerFactory.getLogger(Dpamt.class);

  private final PageAllocator pages;
  private final SpinLock lock;
  private final PamtRefcounts refcounts;
  private final Stats<PamtCounter> counters;
  private final SharedWord installed;
  private final SharedWord peak;
  private final SharedWord addWarned;
  private final SharedWord removeWarned;
  private final SharedWord demoteWarned;

  /** Guarded by {@link #lock}. */
  private final Set<Long> stuck = new HashSet<>();

  PamtRanges(Kernel kernel, PageAllocator pages) {
    this.pages = pages;
    this.lock = kernel.spinLock(LockClass.PAMT_LOCK);
    this.refcounts = new PamtRefcounts(kernel, pages.totalPages());
    this.counters = new Stats<>(kernel, PamtCounter.class);
    this.installed = kernel.word(0).named("page pairs");
    this.peak = kernel.word(0).named("page pairs at most");
    this.addWarned = kernel.word(0).named("add warned");
    this.removeWarned = kernel.word(0).named("remove warned");
    this.demoteWarned = kernel.word(0).named("demote warned");
  }

  /** {@code pamt_lock}. */
  SpinLock lock() {
    return lock;
  }

  PamtRefcounts refcounts() {
    return refcounts;
  }

  Stats<PamtCounter> counters() {
    return counters;
  }

  long pairsInstalled() {
    return installed.get();
  }

  long pairsPeak() {
    return peak.get();
  }

  /** The module took {@code pair}. */
  void recordInstalled(PagePair pair, PamtCounter how) {
    changeOwner(pair, PageOwner.PAMT_CACHE, PageOwner.PAMT_PAGE);
    counters.increment(how);
    long now = installed.addAndGet(1);
    long before = peak.get();
    while (before < now && !peak.compareAndSet(before, now)) {
      before = peak.get();
    }
  }

  /** The module gave {@code pair} back: it can go to a cache or be freed. */
  PagePair recordRemoved(PagePair pair) {
    changeOwner(pair, PageOwner.PAMT_PAGE, PageOwner.PAMT_CACHE);
    counters.increment(PamtCounter.PAIRS_REMOVED);
    installed.addAndGet(-1);
    return pair;
  }

  /** The module refused a pair; said aloud the first time. */
  void recordAddFailure(long pfn, PamtAddStatus status) {
    counters.increment(PamtCounter.ADD_FAILURES);
    if (addWarned.compareAndSet(0, 1)) {
      log.warn("PAMT.ADD of pfn 0x{}: {}", Long.toHexString(PamtRefcounts.rangeOf(pfn)), status);
    }
  }

  /** The module gave no pair back; said aloud the first time. */
  void recordRemoveFailure(long pfn) {
    counters.increment(PamtCounter.REMOVE_FAILURES);
    if (removeWarned.compareAndSet(0, 1)) {
      log.warn(
          "PAMT.REMOVE of pfn 0x{} failed: its range is for 4K pages only from now on",
          Long.toHexString(PamtRefcounts.rangeOf(pfn)));
    }
  }

  /** A DEMOTE found a count that was not 0, and left it; said aloud the first time. */
  void recordDemoteOfUsedRange(long pfn) {
    if (demoteWarned.compareAndSet(0, 1)) {
      log.warn("DEMOTE of pfn 0x{}: its range was counted already", Long.toHexString(pfn));
    }
  }

  /** The range has a count from now on that nobody owns; {@link #lock} held. */
  void markStuck(long pfn) {
    stuck.add(PamtRefcounts.rangeOf(pfn));
  }

  /** The ranges that were ever {@link #markStuck}, ascending. */
  SortedSet<Long> stuckRanges() {
    lock.lock();
    try {
      return ImmutableSortedSet.copyOf(stuck);
    } finally {
      lock.unlock();
    }
  }

  /** Two pages of {@code PAMT_CACHE}, or null and nothing taken. */
  @Nullable PagePair allocPair() {
    long first = pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL_ACCOUNT);
    if (first == NO_PAGE) {
      return null;
    }
    long second = pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL_ACCOUNT);
    if (second == NO_PAGE) {
      free(first);
      return null;
    }
    return new PagePair(first, second);
  }

  /** Gives a pair of {@code PAMT_CACHE} pages to the allocator. */
  void free(PagePair pair) {
    free(pair.first());
    free(pair.second());
  }

  /** Gives one {@code PAMT_CACHE} page to the allocator. */
  void free(long pfn) {
    pages.freePage(pfn, PageOwner.PAMT_CACHE);
  }

  private void changeOwner(PagePair pair, PageOwner from, PageOwner to) {
    pages.changeOwner(pair.first(), from, to);
    pages.changeOwner(pair.second(), from, to);
  }
}
