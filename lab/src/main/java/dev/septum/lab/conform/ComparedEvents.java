package dev.septum.lab.conform;

import com.google.common.collect.ImmutableSet;
import dev.septum.kvm.PageLevel;

/**
 * Which events both sides must have.
 *
 * <p>The others are what the host does to the VM, or of no concern to the MMU.
 */
final class ComparedEvents {

  private static final ImmutableSet<String> EVENTS =
      ImmutableSet.of(
          SpteChange.NAME,
          EventFormats.GET_PAGE,
          EventFormats.PREPARE_ZAP_PAGE,
          EventFormats.SPLIT_HUGE_PAGE,
          EventFormats.SET_SPTE,
          EventFormats.SPTE_REQUESTED,
          EventFormats.FAST_PAGE_FAULT,
          EventFormats.ZAP_ALL_FAST,
          EventFormats.PAGE_FAULT,
          EventFormats.MARK_MMIO_SPTE,
          "check_mmio_spte",
          "handle_mmio_page_fault",
          "vcpu_match_mmio",
          "kvm_dirty_ring_push",
          "kvm_dirty_ring_reset");

  private static final ImmutableSet<String> PROBES =
      ImmutableSet.of(EventFormats.FLUSH, EventFormats.MAP_RET);

  private final PageLevel smallestLevel;
  private final boolean hasProbes;

  ComparedEvents(Recording.Header header) {
    this.smallestLevel = header.smallestLevel();
    this.hasProbes = header.hasProbes();
  }

  boolean contains(Event event) {
    if (event.name().equals(SpteChange.NAME)) {
      return !smallestLevel.isAbove(SpteChange.of(event).level());
    }
    return EVENTS.contains(event.name()) || (hasProbes && PROBES.contains(event.name()));
  }
}
