/**
 * Dynamic PAMT: which 2 MiB ranges of host memory have a page pair for their 4K PAMT entries, and
 * who needs it.
 *
 * <p>{@link dev.septum.dpamt.Dpamt} counts the 4 KiB pages that the TDX module uses in each range;
 * the first one brings the pair, the last one takes it away. {@link dev.septum.dpamt.PamtCache}
 * holds pages for callers that may not sleep. The module itself is behind {@link
 * dev.septum.dpamt.PamtSeamcalls}.
 */
package dev.septum.dpamt;
