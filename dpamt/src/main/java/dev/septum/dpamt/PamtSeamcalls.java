package dev.septum.dpamt;

import org.jspecify.annotations.Nullable;

/**
 * The two SEAMCALLs that Dynamic PAMT needs; the TDX backend supplies them.
 *
 * <p>Called with {@code pamt_lock} held: they must not sleep. A failure changes nothing. {@code
 * rangePfn} is the first pfn of a 2 MiB range.
 */
public interface PamtSeamcalls {

  /** Gives the module a pair for a range ({@code TDH.PHYMEM.PAMT.ADD}). */
  PamtAddStatus add(long rangePfn, PagePair pair);

  /** Takes a range's pair back ({@code TDH.PHYMEM.PAMT.REMOVE}); null if the module keeps it. */
  @Nullable PagePair remove(long rangePfn);
}
