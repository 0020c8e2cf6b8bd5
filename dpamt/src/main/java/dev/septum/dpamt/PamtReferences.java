package dev.septum.dpamt;

import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * How the references to a range are taken and dropped where a page pair may come or go: the part in
 * which the versions of the series differ.
 */
interface PamtReferences {

  /** What became of the pair that a slow get brought. */
  enum Installation {
    /** The module has it. */
    INSTALLED,
    /** The caller may go on, and still has the pair. */
    NOT_NEEDED,
    /** The caller may not go on, and still has the pair. */
    REFUSED
  }

  /** Takes a reference to the range of {@code pfn}, whose count was 0 without a lock. */
  Installation install(long pfn, PagePair pair);

  /** Drops a reference to the range of {@code pfn}; the pair, if that took it out of the module. */
  @Nullable PagePair drop(long pfn);

  /** The pair for a get, from the caller's cache; null if it has none. */
  @Nullable PagePair draw(PamtCache cache);

  /** Takes a pair of {@code PAMT_CACHE} pages back that the module does not have. */
  void giveBack(PagePair pair, PamtCache cache);

  /** Runs a DEMOTE that gives the module {@code pair} and the range 512 references. */
  long demote(long guestPfn, PagePair pair, LongSupplier seamcall);
}
