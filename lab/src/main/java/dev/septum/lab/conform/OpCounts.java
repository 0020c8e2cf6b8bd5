package dev.septum.lab.conform;

import com.google.common.collect.HashMultiset;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.Multiset;
import dev.septum.kernel.EntryTable;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import dev.septum.mmu.RetPf;
import dev.septum.mmu.SpteFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Whether the events of an operation tell of as many things as its statistics do. */
final class OpCounts {

  private static final SpteFormat NPT = SpteFormat.npt();

  private static final ImmutableList<PageLevel> LEAF_LEVELS =
      ImmutableList.of(PageLevel.LEVEL_4K, PageLevel.LEVEL_2M, PageLevel.LEVEL_1G);

  /** What happened, by its name. */
  private final Multiset<String> seen = HashMultiset.create();

  private final Recording.Header header;
  private final OpOutcome outcome;
  private final List<String> violations = new ArrayList<>();

  OpCounts(Recording.Header header, OpOutcome outcome) {
    this.header = header;
    this.outcome = outcome;
    outcome.events().forEach(this::count);
  }

  private void count(Event event) {
    seen.add(event.name());
    EventFields fields = new EventFields(event);
    switch (event.name()) {
      case SpteChange.NAME -> count(SpteChange.of(event));
      case EventFormats.SPLIT_HUGE_PAGE -> seen.add("split errno " + fields.number("errno"));
      case EventFormats.MAP_RET -> seen.add(event.fields());
      case EventFormats.FAST_PAGE_FAULT -> {
        seen.add("fast fixed", fields.number("fixed"));
        seen.add("fast spurious", fields.number("spurious"));
      }
      default -> {
        // How many there are is all that matters.
      }
    }
  }

  private void count(SpteChange change) {
    PageLevel level = change.level();
    if (NPT.isPresentLeaf(change.oldSpte(), level)) {
      seen.add("leafs gone " + level);
    }
    if (NPT.isPresentLeaf(change.newSpte(), level)) {
      seen.add("leafs new " + level);
    }
    if (NPT.isPresentTable(change.oldSpte(), level)) {
      seen.add("tables gone");
    }
    if (Transition.SPLIT.allows(level, change.oldSpte(), change.newSpte())) {
      seen.add("splits");
      seen.add("leafs new " + level.below(), EntryTable.ENTRIES);
    }
  }

  /**
   * What does not agree, one sentence for each count.
   *
   * @param vmDeltas by how much the VM's statistics grew; empty if nobody looked
   */
  List<String> violations(Map<String, Long> vmDeltas) {
    same("splits", seen.count("splits"), "split_huge_page events", seen.count("split errno 0"));
    same("tables gone", seen.count("tables gone"), "prepare_zap_page events", zappedPages());
    if (!vmDeltas.isEmpty()) {
      leafs(vmDeltas);
      flushes(vmDeltas);
      faults();
    }
    return violations;
  }

  private int zappedPages() {
    return seen.count(EventFormats.PREPARE_ZAP_PAGE);
  }

  private void leafs(Map<String, Long> vmDeltas) {
    for (PageLevel level : LEAF_LEVELS) {
      if (!header.smallestLevel().isAbove(level)) {
        long more = (long) seen.count("leafs new " + level) - seen.count("leafs gone " + level);
        same("%s leafs more by the events".formatted(level), more, vmDeltas, VmStat.pages(level));
      }
    }
  }

  private void flushes(Map<String, Long> vmDeltas) {
    if (header.hasProbes()) {
      long flushes = seen.count(EventFormats.FLUSH);
      same("flushes", flushes, vmDeltas, VmStat.REMOTE_TLB_FLUSH_REQUESTS);
    }
    atMost(
        "remote_tlb_flush",
        vmDeltas.getOrDefault("remote_tlb_flush", 0L),
        "remote_tlb_flush_requests",
        vmDeltas.getOrDefault("remote_tlb_flush_requests", 0L));
  }

  private void faults() {
    long fastFixed = seen.count("fast fixed");
    long fastSpurious = seen.count("fast spurious");
    same("fast page faults that helped", fastFixed + fastSpurious, "pf_fast", sum("pf_fast"));
    long told = sum("pf_fixed") + sum("pf_spurious") + sum("pf_emulate");
    if (!header.hasProbes()) {
      atMost("faults with an end", told, "pf_taken", sum("pf_taken"));
      return;
    }
    same("faults fixed", fastFixed + mapped(RetPf.FIXED), "pf_fixed", sum("pf_fixed"));
    same("spurious", fastSpurious + mapped(RetPf.SPURIOUS), "pf_spurious", sum("pf_spurious"));
    atMost("faults emulated", mapped(RetPf.EMULATE), "pf_emulate", sum("pf_emulate"));
    long all = told + mapped(RetPf.RETRY) + mapped(RetPf.WRITE_PROTECTED);
    if (isUndisturbed()) {
      same("faults with an end, or retried", all, "pf_taken", sum("pf_taken"));
    } else {
      atMost("faults with an end, or retried", all, "pf_taken", sum("pf_taken"));
    }
  }

  /** Whether no fault was retried before it came to the TDP MMU, as a stale one is. */
  private boolean isUndisturbed() {
    return !seen.contains("unmap_gfn_range") && !seen.contains(EventFormats.ZAP_ALL_FAST);
  }

  private long mapped(RetPf ret) {
    // RetPf is in the kernel's order.
    return seen.count("ret_pf=" + ret.ordinal());
  }

  private long sum(String vcpuStat) {
    return outcome.vcpuDeltas().values().stream()
        .mapToLong(delta -> delta.getOrDefault(vcpuStat, 0L))
        .sum();
  }

  private void same(String what, long count, Map<String, Long> deltas, VmStat stat) {
    same(what, count, stat.toString(), deltas.getOrDefault(stat.toString(), 0L));
  }

  private void same(String what, long count, String other, long otherCount) {
    if (count != otherCount) {
      violations.add("%d %s, but %d %s".formatted(count, what, otherCount, other));
    }
  }

  private void atMost(String what, long count, String other, long otherCount) {
    if (count > otherCount) {
      violations.add("%d %s, but only %d %s".formatted(count, what, otherCount, other));
    }
  }
}
