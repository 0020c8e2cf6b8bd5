package dev.septum.dpamt;

/** Which version of the series Dynamic PAMT follows. */
public enum DpamtShape {
  /**
   * Dynamic PAMT v4 with the huge page series v3 on it, as posted. A put drops its count before it
   * takes {@code pamt_lock}, so that a get can meet a pair that is on its way out.
   */
  V4 {
    @Override
    PamtReferences references(PamtRanges ranges, PamtSeamcalls module) {
      return new UnlockedDropReferences(ranges, module);
    }
  },
  /**
   * Dynamic PAMT v6: get and put are mirror images, a count leaves 0 and reaches it under {@code
   * pamt_lock} only. {@code pamt_lock} covers DEMOTE in addition, and pairs that are not needed go
   * back to the cache that they came from.
   */
  V6 {
    @Override
    PamtReferences references(PamtRanges ranges, PamtSeamcalls module) {
      return new SymmetricReferences(ranges, module);
    }
  };

  abstract PamtReferences references(PamtRanges ranges, PamtSeamcalls module);
}
