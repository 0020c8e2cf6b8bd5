package dev.septum.dpamt;

import static com.google.common.base.Preconditions.checkArgument;

import dev.septum.dpamt.PamtReferences.Installation;
import dev.septum.kernel.Kernel;
import dev.septum.kernel.PageAllocator;
import dev.septum.kvm.Errno;
import dev.septum.kvm.Stats;
import java.util.Map;
import java.util.SortedSet;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Installs and removes page pairs as 4 KiB pages of a 2 MiB range come into the TDX module's use
 * and go out of it: one for the whole host.
 *
 * <p>A range has a pair exactly while its refcount is above 0. The count leaves 0 only under {@code
 * pamt_lock}, in one step with PAMT.ADD or DEMOTE, and changes without a lock above that. So
 * whoever sees it above 0 has the pair. How it gets back to 0 is the {@link DpamtShape}'s.
 *
 * <p>Models {@code tdx_pamt_get} and {@code tdx_pamt_put}.
 */
public final class Dpamt {

  /** Pages that hold the 4K entries of one 2 MiB range. */
  public static final int PAGES_PER_PAIR = 2;

  private final Kernel kernel;
  private final PamtRanges ranges;

  /** Null where Dynamic PAMT is off. */
  private final @Nullable PamtReferences references;

  private Dpamt(Kernel kernel, PamtRanges ranges, @Nullable PamtReferences references) {
    this.kernel = kernel;
    this.ranges = ranges;
    this.references = references;
  }

  /** Dynamic PAMT on a module that has it, in the shape that is right. */
  public static Dpamt enabled(Kernel kernel, PageAllocator pages, PamtSeamcalls seamcalls) {
    return enabled(kernel, pages, seamcalls, DpamtShape.V6);
  }

  /** Dynamic PAMT on a module that has it, in a given shape. */
  public static Dpamt enabled(
      Kernel kernel, PageAllocator pages, PamtSeamcalls seamcalls, DpamtShape shape) {
    PamtRanges ranges = new PamtRanges(kernel, pages);
    return new Dpamt(kernel, ranges, shape.references(ranges, seamcalls));
  }

  /** A module without Dynamic PAMT: gets and puts do nothing and succeed. */
  public static Dpamt disabled(Kernel kernel, PageAllocator pages) {
    return new Dpamt(kernel, new PamtRanges(kernel, pages), null);
  }

  /** Whether the module uses Dynamic PAMT. */
  public boolean isEnabled() {
    return references != null;
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
    if (references == null) {
      return Errno.OK;
    }
    kernel.locks().mightSleep("tdx_pamt_get without a cache");
    if (getFast(pfn)) {
      return Errno.OK;
    }
    PagePair pair = ranges.allocPair();
    if (pair == null) {
      return shortage();
    }
    Installation outcome = references.install(pfn, pair);
    if (outcome != Installation.INSTALLED) {
      ranges.free(pair);
    }
    return errnoOf(outcome);
  }

  /**
   * Makes a page usable by the module as a 4K page, with a pair from {@code cache} and from nowhere
   * else. Never sleeps; the caller guards the cache. A failure leaves the range as it was.
   *
   * @return {@link Errno#ENOMEM} if the cache has no two pages, {@link Errno#EIO} if the module
   *     refuses them
   */
  public Errno get(long pfn, PamtCache cache) {
    if (references == null || getFast(pfn)) {
      return Errno.OK;
    }
    PagePair pair = references.draw(cache);
    if (pair == null) {
      return shortage();
    }
    Installation outcome = references.install(pfn, pair);
    if (outcome != Installation.INSTALLED) {
      references.giveBack(pair, cache);
    }
    return errnoOf(outcome);
  }

  /**
   * Undoes one get ({@code tdx_pamt_put}). The last one takes the pair away; if the module keeps
   * it, the range stays as if it had one user, and can be used for 4K pages only.
   */
  public void put(long pfn) {
    PagePair pair = references == null ? null : references.drop(pfn);
    if (pair != null) {
      ranges.free(pair);
    }
  }

  /**
   * Undoes one {@link #get(long, PamtCache)} on the way out of a failure: a pair that the module
   * gives back goes to {@code cache}, where it came from. The caller guards the cache.
   */
  public void put(long pfn, PamtCache cache) {
    PagePair pair = references == null ? null : references.drop(pfn);
    if (references != null && pair != null) {
      references.giveBack(pair, cache);
    }
  }

  /**
   * Undoes one get of a page that the module released, and notes its removal hint.
   *
   * <p>The hint says that no page of the range was in the module's use at that moment. It decides
   * nothing: the hint may go to one put and the last reference to another, and a page that was got
   * but not yet used has no part in it.
   */
  public void put(ReleasedPage page) {
    if (page.wasLastOfRange()) {
      ranges.counters().increment(PamtCounter.REMOVAL_HINTS);
    }
    put(page.pfn());
  }

  /**
   * Runs a DEMOTE of the 2 MiB page at {@code guestPfn}, which installs {@code pair} for it.
   *
   * <p>If the status is 0, the range has 512 users and the module has the pair; otherwise nothing
   * changed and the caller keeps it. When disabled, just the SEAMCALL is run.
   *
   * @return the SEAMCALL's status
   */
  public long demote(long guestPfn, @Nullable PagePair pair, LongSupplier demoteSeamcall) {
    if (references == null) {
      return demoteSeamcall.getAsLong();
    }
    checkArgument(pair != null, "DEMOTE needs a page pair with Dynamic PAMT");
    if (PamtRefcounts.rangeOf(guestPfn) != guestPfn) {
      throw new IllegalArgumentException(
          "pfn 0x%x does not start a 2 MiB range".formatted(guestPfn));
    }
    return references.demote(guestPfn, pair, demoteSeamcall);
  }

  /** How many 4 KiB pages of the 2 MiB range around {@code pfn} are in use. */
  public long refcount(long pfn) {
    return ranges.refcounts().get(pfn);
  }

  /** Every refcount that is not 0, by the first pfn of its range. For checkers. */
  public Map<Long, Long> refcounts() {
    return ranges.refcounts().nonZero();
  }

  /**
   * The ranges, by first pfn, whose PAMT.REMOVE failed: their count never reaches 0 again, and no
   * 2M page can be mapped there as long as the host runs. For checkers.
   */
  public SortedSet<Long> stuckRanges() {
    return ranges.stuckRanges();
  }

  /** How often each path was taken. */
  public Stats<PamtCounter> counters() {
    return ranges.counters();
  }

  /** Pairs that the module has now. */
  public long pairsInstalled() {
    return ranges.pairsInstalled();
  }

  /** The most pairs that the module ever had at once. */
  public long pairsPeak() {
    return ranges.pairsPeak();
  }

  private boolean getFast(long pfn) {
    boolean done = ranges.refcounts().incrementUnlessZero(pfn);
    counters().increment(done ? PamtCounter.FAST_GETS : PamtCounter.SLOW_GETS);
    return done;
  }

  private Errno shortage() {
    counters().increment(PamtCounter.PAIR_SHORTAGES);
    return Errno.ENOMEM;
  }

  private static Errno errnoOf(Installation outcome) {
    return outcome == Installation.REFUSED ? Errno.EIO : Errno.OK;
  }
}
