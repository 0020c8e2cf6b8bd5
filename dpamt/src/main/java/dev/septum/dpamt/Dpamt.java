package dev.septum.dpamt;

import static com.google.common.base.Preconditions.checkArgument;
import static dev.septum.kernel.PageAllocator.NO_PAGE;
import static dev.septum.kernel.PageAllocator.RANGE_PAGES;

import dev.septum.kernel.Gfp;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.LockClass;
import dev.septum.kernel.PageAllocator;
import dev.septum.kernel.PageOwner;
import dev.septum.kernel.SharedWord;
import dev.septum.kernel.SpinLock;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Stats;
import java.util.Map;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Installs and removes page pairs as 4 KiB pages of a 2 MiB range come into the TDX module's use
 * and go out of it: one for the whole host.
 *
 * <p>A range has a pair exactly while its refcount is above 0. The count leaves 0 and reaches it
 * only under {@code pamt_lock}, in one step with PAMT.ADD, PAMT.REMOVE or DEMOTE; between those it
 * changes without a lock. So whoever sees it above 0 has the pair, and whoever holds the lock and
 * sees 0 has the range to itself.
 *
 * <p>Models {@code tdx_pamt_get} and {@code tdx_pamt_put} as of Dynamic PAMT v6, with {@code
 * pamt_lock} held over DEMOTE in addition, and unneeded pairs back in the cache they came from.
 */
public final class Dpamt {

  /** Pages that hold the 4K entries of one 2 MiB range. */
  public static final int PAGES_PER_PAIR = 2;

  private static final Logger log = LoggerFactory.getLogger(Dpamt.class);

  /** What became of the pair that a slow get brought. */
  private enum Installation {
    INSTALLED,
    NOT_NEEDED,
    REFUSED;

    Errno toErrno() {
      return this == REFUSED ? Errno.EIO : Errno.OK;
    }
  }

  private final Kernel kernel;
  private final PageAllocator pages;

  /** Null where Dynamic PAMT is off. */
  private final @Nullable PamtSeamcalls seamcalls;

  private final SpinLock lock;
  private final PamtRefcounts refcounts;
  private final Stats<PamtCounter> counters;
  private final SharedWord addWarned;
  private final SharedWord removeWarned;

  /** Written under {@link #lock}. */
  private final SharedWord installed;

  private final SharedWord peak;

  private Dpamt(Kernel kernel, PageAllocator pages, @Nullable PamtSeamcalls seamcalls) {
    this.kernel = kernel;
    this.pages = pages;
    this.seamcalls = seamcalls;
    this.lock = kernel.spinLock(LockClass.PAMT_LOCK);
    this.refcounts = new PamtRefcounts(kernel, pages.totalPages());
    this.counters = new Stats<>(kernel, PamtCounter.class);
    this.addWarned = kernel.word(0);
    this.removeWarned = kernel.word(0);
    this.installed = kernel.word(0);
    this.peak = kernel.word(0);
  }

  /** Dynamic PAMT on a module that has it. */
  public static Dpamt enabled(Kernel kernel, PageAllocator pages, PamtSeamcalls seamcalls) {
    return new Dpamt(kernel, pages, seamcalls);
  }

  /** A module without Dynamic PAMT: gets and puts do nothing and succeed. */
  public static Dpamt disabled(Kernel kernel, PageAllocator pages) {
    return new Dpamt(kernel, pages, null);
  }

  /** Whether the module uses Dynamic PAMT. */
  public boolean isEnabled() {
    return seamcalls != null;
  }

  /** Pages that one 2 MiB range needs ({@code tdx_dpamt_entry_pages}): 2, or 0 when disabled. */
  public int entryPages() {
    return isEnabled() ? PAGES_PER_PAIR : 0;
  }

  /**
   * Makes a page usable by the module as a 4K page ({@code tdx_pamt_get}). May sleep. A failure
   * changes nothing.
   *
   * @return {@link Errno#ENOMEM} without two pages, {@link Errno#EIO} if the module refuses them
   */
  public Errno get(long pfn) {
    PamtSeamcalls module = seamcalls;
    if (module == null) {
      return Errno.OK;
    }
    kernel.locks().mightSleep("tdx_pamt_get without a cache");
    if (getFast(pfn)) {
      return Errno.OK;
    }
    PagePair pair = allocPair();
    if (pair == null) {
      return shortage();
    }
    Installation outcome = install(module, pfn, pair);
    if (outcome != Installation.INSTALLED) {
      freePair(pair, PageOwner.PAMT_CACHE);
    }
    return outcome.toErrno();
  }

  /**
   * Makes a page usable by the module as a 4K page, with a pair from {@code cache} and from nowhere
   * else. Never sleeps; the caller guards the cache. A failure changes nothing.
   *
   * @return {@link Errno#ENOMEM} if the cache has no two pages, {@link Errno#EIO} if the module
   *     refuses them
   */
  public Errno get(long pfn, PamtCache cache) {
    PamtSeamcalls module = seamcalls;
    if (module == null || getFast(pfn)) {
      return Errno.OK;
    }
    PagePair pair = cache.popPair();
    if (pair == null) {
      return shortage();
    }
    Installation outcome = install(module, pfn, pair);
    if (outcome != Installation.INSTALLED) {
      // v4 to v6 free it; but the cache was filled for this caller, who may come again.
      cache.push(pair);
    }
    return outcome.toErrno();
  }

  /**
   * Undoes one get ({@code tdx_pamt_put}). The last one takes the pair away; if the module keeps
   * it, the range stays as if it had one user, and can be used for 4K pages only.
   */
  public void put(long pfn) {
    PagePair pair = putAndTake(pfn);
    if (pair != null) {
      freePair(pair, PageOwner.PAMT_PAGE);
    }
  }

  /**
   * Undoes one {@link #get(long, PamtCache)} on the way out of a failure: a pair that the module
   * gives back goes to {@code cache}, where it came from. The caller guards the cache.
   */
  public void put(long pfn, PamtCache cache) {
    PagePair pair = putAndTake(pfn);
    if (pair != null) {
      changeOwner(pair, PageOwner.PAMT_PAGE, PageOwner.PAMT_CACHE);
      cache.push(pair);
    }
  }

  /** The pair that a put took out of the module, or null if the range still has it. */
  private @Nullable PagePair putAndTake(long pfn) {
    PamtSeamcalls module = seamcalls;
    if (module == null) {
      return null;
    }
    if (refcounts.decrementUnlessLast(pfn)) {
      counters.increment(PamtCounter.FAST_PUTS);
      return null;
    }
    counters.increment(PamtCounter.SLOW_PUTS);
    return uninstall(module, pfn);
  }

  /**
   * Runs a DEMOTE of the 2 MiB page at {@code guestPfn}, which installs {@code pair} for it.
   *
   * <p>{@code pamt_lock} is held around the SEAMCALL, since the module locks the ranges that the
   * pair's own pages are in, and a PAMT.ADD there would make one of the two fail. If the status is
   * 0, the range has 512 users and the module has the pair; otherwise nothing changed and the
   * caller keeps it. When disabled, just the SEAMCALL is run.
   *
   * @return the SEAMCALL's status
   */
  public long demote(long guestPfn, @Nullable PagePair pair, LongSupplier demoteSeamcall) {
    if (!isEnabled()) {
      return demoteSeamcall.getAsLong();
    }
    checkArgument(pair != null, "DEMOTE needs a page pair with Dynamic PAMT");
    if (PamtRefcounts.rangeOf(guestPfn) != guestPfn) {
      throw new IllegalArgumentException(
          "pfn 0x%x does not start a 2 MiB range".formatted(guestPfn));
    }
    lock.lock();
    try {
      long users = refcounts.get(guestPfn);
      if (users != 0) {
        throw new IllegalStateException(
            "DEMOTE of pfn 0x%x, whose range has a pair and %d users".formatted(guestPfn, users));
      }
      long status = demoteSeamcall.getAsLong();
      if (status == 0) {
        recordInstalled(guestPfn, RANGE_PAGES, pair);
        counters.increment(PamtCounter.PAIRS_DEMOTED);
      }
      return status;
    } finally {
      lock.unlock();
    }
  }

  /** How many 4 KiB pages of the 2 MiB range around {@code pfn} are in use. */
  public long refcount(long pfn) {
    return refcounts.get(pfn);
  }

  /** Every refcount above 0, by the first pfn of its range. For checkers. */
  public Map<Long, Long> refcounts() {
    return refcounts.nonZero();
  }

  /** How often each path was taken. */
  public Stats<PamtCounter> counters() {
    return counters;
  }

  /** Pairs that the module has now. */
  public long pairsInstalled() {
    return installed.get();
  }

  /** The most pairs that the module ever had at once. */
  public long pairsPeak() {
    return peak.get();
  }

  private boolean getFast(long pfn) {
    boolean done = refcounts.incrementUnlessZero(pfn);
    counters.increment(done ? PamtCounter.FAST_GETS : PamtCounter.SLOW_GETS);
    return done;
  }

  private Installation install(PamtSeamcalls module, long pfn, PagePair pair) {
    PamtAddStatus status;
    lock.lock();
    try {
      // Another get may have installed a pair since this one found the count at 0.
      if (refcounts.incrementUnlessZero(pfn)) {
        counters.increment(PamtCounter.LOST_RACES);
        return Installation.NOT_NEEDED;
      }
      status = module.add(PamtRefcounts.rangeOf(pfn), pair);
      if (status == PamtAddStatus.ADDED) {
        recordInstalled(pfn, 1, pair);
        counters.increment(PamtCounter.PAIRS_ADDED);
        return Installation.INSTALLED;
      }
    } finally {
      lock.unlock();
    }
    counters.increment(PamtCounter.ADD_FAILURES);
    if (addWarned.compareAndSet(0, 1)) {
      log.warn("PAMT.ADD of pfn 0x{}: {}", Long.toHexString(PamtRefcounts.rangeOf(pfn)), status);
    }
    return Installation.REFUSED;
  }

  /** The module took {@code pair}: the range's count leaves 0. {@link #lock} held. */
  private void recordInstalled(long pfn, long users, PagePair pair) {
    changeOwner(pair, PageOwner.PAMT_CACHE, PageOwner.PAMT_PAGE);
    refcounts.set(pfn, users);
    peak.set(Math.max(peak.get(), installed.addAndGet(1)));
  }

  /** Takes one user away, and with the last one the pair, which it returns. */
  private @Nullable PagePair uninstall(PamtSeamcalls module, long pfn) {
    lock.lock();
    try {
      // A get without the lock may have come since this put found the count at 1.
      long users = refcounts.decrementUnlessZero(pfn);
      if (users == 0) {
        throw new IllegalStateException("put of pfn 0x%x, which nobody got".formatted(pfn));
      }
      if (users > 1) {
        return null;
      }
      PagePair pair = module.remove(PamtRefcounts.rangeOf(pfn));
      if (pair != null) {
        installed.addAndGet(-1);
        counters.increment(PamtCounter.PAIRS_REMOVED);
        return pair;
      }
      // The pair is still there: a count of 0 would let the next get add another.
      refcounts.set(pfn, 1);
    } finally {
      lock.unlock();
    }
    counters.increment(PamtCounter.REMOVE_FAILURES);
    if (removeWarned.compareAndSet(0, 1)) {
      log.warn(
          "PAMT.REMOVE of pfn 0x{} failed: its range is for 4K pages only from now on",
          Long.toHexString(PamtRefcounts.rangeOf(pfn)));
    }
    return null;
  }

  private Errno shortage() {
    counters.increment(PamtCounter.PAIR_SHORTAGES);
    return Errno.ENOMEM;
  }

  private @Nullable PagePair allocPair() {
    long first = pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL_ACCOUNT);
    if (first == NO_PAGE) {
      return null;
    }
    long second = pages.allocPage(PageOwner.PAMT_CACHE, Gfp.KERNEL_ACCOUNT);
    if (second == NO_PAGE) {
      pages.freePage(first, PageOwner.PAMT_CACHE);
      return null;
    }
    return new PagePair(first, second);
  }

  private void freePair(PagePair pair, PageOwner owner) {
    pages.freePage(pair.first(), owner);
    pages.freePage(pair.second(), owner);
  }

  private void changeOwner(PagePair pair, PageOwner from, PageOwner to) {
    pages.changeOwner(pair.first(), from, to);
    pages.changeOwner(pair.second(), from, to);
  }
}
