package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import dev.septum.kvm.PageLevel;
import dev.septum.kvm.VmStat;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Whether what happened in a race is allowed, as no two runs of it are the same.
 *
 * <p>Of each operation from the first race on: each change of an SPTE is a {@link Transition}; the
 * changes lead from the dump before to the dump after ({@link Chains}); the events tell of as many
 * things as the statistics ({@link OpCounts}), and so does the dump; dirty logs report what became
 * writable ({@link DirtyLog}). What our MMU does on threads is held to the same.
 */
final class RaceCheck {

  /** More violations of one operation would say no more. */
  private static final int MOST = 20;

  private final Recording recording;
  private final int firstOp;
  private final DirtyLog dirtyLog;
  private final List<String> violations = new ArrayList<>();
  private final List<Event> sinceDump = new ArrayList<>();
  private TableSnapshot tables = TableSnapshot.EMPTY;
  private Map<String, Long> vmStats = Map.of();
  private boolean nxHugePages;

  private RaceCheck(Recording recording, int firstOp) {
    this.recording = recording;
    this.firstOp = firstOp;
    this.dirtyLog = new DirtyLog(recording.header());
    this.nxHugePages = recording.header().nxHugePages();
  }

  /**
   * What the outcomes, the kernel's or our MMU's, break from an operation on; one sentence each.
   *
   * @throws RecordingException if the recording lacks a parameter
   */
  static ImmutableList<String> violations(
      Recording recording, int firstOp, List<OpOutcome> outcomes) throws RecordingException {
    RaceCheck check = new RaceCheck(recording, firstOp);
    for (RecordedOp op : recording.ops()) {
      check.next(op, outcomes.get(op.index()));
    }
    return ImmutableList.copyOf(check.violations);
  }

  private void next(RecordedOp op, OpOutcome outcome) throws RecordingException {
    List<String> found = new ArrayList<>();
    checkTransitions(outcome, found);
    TableSnapshot after = tables(op, outcome, found);
    found.addAll(dirtyLog.next(op, outcome, tables, after));
    sinceDump.addAll(outcome.events());
    if (hasDump(op)) {
      found.addAll(chains(after));
      checkLeafs(outcome, after, found);
      sinceDump.clear();
      tables = after;
    }
    found.addAll(new OpCounts(recording.header(), outcome).violations(vmDeltas(outcome)));
    if (op.index() >= firstOp) {
      found.stream().limit(MOST).forEach(text -> violations.add(op + ": " + text));
    }
    vmStats = outcome.vmStats();
    if (op.fields().has("param") && op.fields().text("param").equals("kvm.nx_huge_pages")) {
      nxHugePages = op.fields().text("readback").equals("Y");
    }
  }

  private static void checkTransitions(OpOutcome outcome, List<String> found) {
    Set<Long> written = new HashSet<>();
    for (Event event : outcome.events()) {
      if (event.name().equals(SpteChange.NAME)) {
        SpteChange change = SpteChange.of(event);
        written.add(change.newSpte());
        if (Transition.of(change).isEmpty()) {
          found.add("no rule allows " + event);
        }
      }
    }
    for (Event event : outcome.events()) {
      FastFix.of(event)
          .filter(fix -> !fix.isAllowed(written))
          .ifPresent(fix -> found.add("no rule allows " + event));
    }
  }

  /** Of a VM that is destroyed nothing is left to dump. */
  private static boolean hasDump(RecordedOp op) {
    return op.table().isPresent() || op.name().equals("destroy_vm");
  }

  /** The tables after the operation; if nobody looked, those before it. */
  private TableSnapshot tables(RecordedOp op, OpOutcome outcome, List<String> found) {
    if (op.table().isEmpty()) {
      return hasDump(op) ? TableSnapshot.EMPTY : tables;
    }
    try {
      return TableSnapshot.parse(outcome.table().orElse("").lines().toList());
    } catch (IllegalArgumentException e) {
      found.add("no dump, but line " + e.getMessage());
      return TableSnapshot.EMPTY;
    }
  }

  private List<String> chains(TableSnapshot after) {
    Chains chains = new Chains(recording.header(), nxHugePages, tables, after);
    for (Event event : sinceDump) {
      if (event.name().equals(SpteChange.NAME)) {
        chains.add(SpteChange.of(event));
      }
      FastFix.of(event).ifPresent(chains::add);
    }
    return chains.violations();
  }

  private Map<String, Long> vmDeltas(OpOutcome outcome) {
    Map<String, Long> deltas = new HashMap<>();
    outcome
        .vmStats()
        .forEach((stat, value) -> deltas.put(stat, value - vmStats.getOrDefault(stat, 0L)));
    return deltas;
  }

  private static void checkLeafs(OpOutcome outcome, TableSnapshot after, List<String> found) {
    for (PageLevel level : List.of(PageLevel.LEVEL_4K, PageLevel.LEVEL_2M, PageLevel.LEVEL_1G)) {
      Long counted = outcome.vmStats().get(VmStat.pages(level).toString());
      if (counted != null && counted != after.leafs(level)) {
        found.add(
            "%s is %d, but the dump has %d such leafs"
                .formatted(VmStat.pages(level), counted, after.leafs(level)));
      }
    }
  }
}
