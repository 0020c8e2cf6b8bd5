package dev.septum.lab.conform;

import static dev.septum.lab.conform.Synthetic.change;
import static dev.septum.lab.conform.Synthetic.fastFix;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableMap;
import dev.septum.kvm.PageLevel;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class OpCountsTest {

  private static final String EMPTY = "8000000000000000";
  private static final String MAPPED = change(1, "1", EMPTY, "112605e67");

  private final List<String> events = new ArrayList<>();
  private final Map<String, Long> vm = new HashMap<>(Map.of("pages_4k", 0L));
  private final Map<String, Long> vcpu0 = new HashMap<>();
  private final Map<String, Long> vcpu1 = new HashMap<>();
  private Recording.Header header = Synthetic.HEADER;

  @Test
  void eventsAndStatisticsThatAgree_areRight() {
    events.add(MAPPED);
    events.add("tdp_map_ret: ret_pf=5");
    events.add("tdp_map_ret: ret_pf=6");
    events.add("tdp_map_ret: ret_pf=1");
    events.add(fastFix("1000", "112605e65", "112605e67"));
    events.add("flush_remote_tlbs");
    vm.putAll(Map.of("pages_4k", 1L, "remote_tlb_flush_requests", 1L, "remote_tlb_flush", 1L));
    vcpu0.putAll(Map.of("pf_taken", 2L, "pf_fixed", 1L));
    vcpu1.putAll(Map.of("pf_taken", 2L, "pf_fixed", 1L, "pf_spurious", 1L, "pf_fast", 1L));
    assertThat(violations()).isEmpty();
  }

  @Test
  void nobodyLookedAtTheStatistics_onlyEventsAreCompared() {
    vm.clear();
    events.add(MAPPED);
    events.add("flush_remote_tlbs");
    assertThat(violations()).isEmpty();

    events.add("kvm_mmu_prepare_zap_page: sp gen 0");
    assertThat(violations()).containsExactly("0 tables gone, but 1 prepare_zap_page events");
  }

  @Test
  void splitThatFailed_isNoSplit() {
    events.add("kvm_mmu_split_huge_page: gfn 0 spte 112600ee7 level 2 errno -16");
    assertThat(violations()).isEmpty();

    events.add("kvm_mmu_split_huge_page: gfn 0 spte 112600ee7 level 2 errno 0");
    assertThat(violations()).containsExactly("0 splits, but 1 split_huge_page events");
  }

  @Test
  void split_has512LeafsMoreAndOneLess() {
    events.add(change(3, "40000", "180000ee7", "1001827"));
    events.add("kvm_mmu_split_huge_page: gfn 40000 spte 180000ee7 level 3 errno 0");
    vm.putAll(Map.of("pages_1g", -1L, "pages_2m", 512L));
    assertThat(violations()).isEmpty();

    vm.put("pages_2m", 511L);
    assertThat(violations())
        .containsExactly("512 LEVEL_2M leafs more by the events, but 511 pages_2m");
  }

  @Test
  void promotedTable_isAlsoOneThatIsGone() {
    events.add(change(2, "40000", "1001827", "112600ee7"));
    events.add("kvm_mmu_prepare_zap_page: sp gen 0");
    events.add(change(1, "40000", "112600e67", "80000000000005a0"));
    vm.putAll(Map.of("pages_4k", -1L, "pages_2m", 1L));
    assertThat(violations()).isEmpty();
  }

  @Test
  void leafsBelowWhatIsRecorded_areNotCounted() {
    header = Synthetic.header(PageLevel.LEVEL_2M, true);
    vm.put("pages_4k", 77L);
    assertThat(violations()).isEmpty();
    vm.put("pages_2m", 1L);
    assertThat(violations()).isNotEmpty();
  }

  @Test
  void withoutProbes_flushesAndRetriesAreUnknown() {
    header = Synthetic.header(PageLevel.LEVEL_4K, false);
    vm.put("remote_tlb_flush_requests", 3L);
    vcpu0.putAll(Map.of("pf_taken", 5L, "pf_fixed", 4L));
    assertThat(violations()).isEmpty();

    vcpu1.put("pf_spurious", 2L);
    assertThat(violations()).containsExactly("6 faults with an end, but only 5 pf_taken");
  }

  @Test
  void faultsThatAreStale_areRetriedWithoutAnEvent() {
    vcpu0.put("pf_taken", 3L);
    assertThat(violations()).containsExactly("0 faults with an end, or retried, but 3 pf_taken");

    events.add("kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0");
    assertThat(violations()).isEmpty();

    vcpu0.putAll(Map.of("pf_emulate", 4L));
    assertThat(violations())
        .containsExactly("4 faults with an end, or retried, but only 3 pf_taken");
  }

  @Test
  void faultOnAWriteTrackedPage_isTaken() {
    events.add("tdp_map_ret: ret_pf=3");
    vcpu0.put("pf_taken", 1L);
    assertThat(violations()).isEmpty();
  }

  @Test
  void emulatedFault_needNotReachTheTdpMmu() {
    vcpu0.putAll(Map.of("pf_taken", 1L, "pf_emulate", 1L));
    assertThat(violations()).isEmpty();

    events.add("tdp_map_ret: ret_pf=2");
    events.add("tdp_map_ret: ret_pf=2");
    assertThat(violations()).contains("2 faults emulated, but only 1 pf_emulate");
  }

  private List<String> violations() {
    OutcomeDraft draft = new OutcomeDraft(Synthetic.outcome(events.toArray(String[]::new)));
    draft.vcpuDeltas.putAll(ImmutableMap.of(0, vcpu0, 1, vcpu1));
    return new OpCounts(header, draft.outcome()).violations(vm);
  }
}
