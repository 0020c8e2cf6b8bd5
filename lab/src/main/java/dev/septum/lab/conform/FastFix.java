package dev.septum.lab.conform;

import dev.septum.mmu.SpteFormat;
import java.util.Optional;
import java.util.Set;

/**
 * A {@code fast_page_fault} that gave a leaf W back, without a lock and without any other event.
 *
 * @param tracedSpte what was in the entry when the event was printed; another CPU may have changed
 *     it by then
 */
record FastFix(long gfn, long oldSpte, long tracedSpte) {

  private static final SpteFormat NPT = SpteFormat.npt();

  /** The fix that an event tells of, if it does. */
  static Optional<FastFix> of(Event event) {
    if (!event.name().equals(EventFormats.FAST_PAGE_FAULT)) {
      return Optional.empty();
    }
    EventFields fields = new EventFields(event);
    return fields.number("fixed") == 1
        ? Optional.of(new FastFix(fields.hex("gva") >>> 12, fields.hex("old"), fields.hex("new")))
        : Optional.empty();
  }

  /** What the fix made of the leaf. */
  long newSpte() {
    return NPT.makeWritable(oldSpte);
  }

  /**
   * Whether W may come back without a lookup.
   *
   * @param written what changes of other CPUs wrote
   */
  boolean isAllowed(Set<Long> written) {
    return NPT.isPresent(oldSpte)
        && !NPT.isWritable(oldSpte)
        && NPT.isMmuWritable(oldSpte)
        && (tracedSpte == newSpte() || isSetByHardware() || written.contains(tracedSpte));
  }

  private boolean isSetByHardware() {
    return tracedSpte == (tracedSpte | newSpte())
        && NPT.clearDirty(NPT.markForAccessTrack(tracedSpte))
            == NPT.clearDirty(NPT.markForAccessTrack(newSpte()));
  }
}
