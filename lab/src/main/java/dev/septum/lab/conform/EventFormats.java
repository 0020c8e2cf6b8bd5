package dev.septum.lab.conform;

import com.google.common.collect.ImmutableListMultimap;
import dev.septum.kvm.PageLevel;

/** The fields that the events must have which are decoded here. */
final class EventFormats {

  static final String GET_PAGE = "kvm_mmu_get_page";
  static final String PREPARE_ZAP_PAGE = "kvm_mmu_prepare_zap_page";
  static final String SPLIT_HUGE_PAGE = "kvm_mmu_split_huge_page";
  static final String SET_SPTE = "kvm_mmu_set_spte";
  static final String SPTE_REQUESTED = "kvm_mmu_spte_requested";
  static final String FAST_PAGE_FAULT = "fast_page_fault";
  static final String MARK_MMIO_SPTE = "mark_mmio_spte";
  static final String PAGE_FAULT = "kvm_page_fault";
  static final String ZAP_ALL_FAST = "kvm_mmu_zap_all_fast";

  /** The kprobe on every remote TLB flush. */
  static final String FLUSH = "flush_remote_tlbs";

  /** The kprobe on what the TDP MMU's fault handler returns. */
  static final String MAP_RET = "tdp_map_ret";

  private static final ImmutableListMultimap<String, String> HEX =
      ImmutableListMultimap.<String, String>builder()
          .putAll(SpteChange.NAME, "gfn", "old_spte", "new_spte")
          .putAll(SET_SPTE, "gfn", "spte", "at")
          .putAll(SPTE_REQUESTED, "gfn", "pfn")
          .putAll(SPLIT_HUGE_PAGE, "gfn", "spte")
          .putAll(FAST_PAGE_FAULT, "gva", "old", "new")
          .build();

  private static final ImmutableListMultimap<String, String> DECIMAL =
      ImmutableListMultimap.<String, String>builder()
          .putAll(SpteChange.NAME, "as id")
          .putAll(SPLIT_HUGE_PAGE, "errno")
          .putAll(FAST_PAGE_FAULT, "vcpu", "spurious", "fixed")
          .putAll(PAGE_FAULT, "vcpu")
          .build();

  private static final ImmutableListMultimap<String, String> LEVEL =
      ImmutableListMultimap.<String, String>builder()
          .putAll(SpteChange.NAME, "level")
          .putAll(SPLIT_HUGE_PAGE, "level")
          .putAll(SET_SPTE, "level")
          .build();

  private EventFormats() {}

  /**
   * Checks an event's fields.
   *
   * @throws IllegalArgumentException if one is missing or has no value of its kind
   */
  static void require(Event event) {
    EventFields fields = new EventFields(event);
    HEX.get(event.name()).forEach(fields::hex);
    DECIMAL.get(event.name()).forEach(fields::number);
    LEVEL.get(event.name()).forEach(key -> PageLevel.of(fields.number(key)));
  }
}
