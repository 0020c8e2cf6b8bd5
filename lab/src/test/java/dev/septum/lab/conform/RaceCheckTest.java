package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class RaceCheckTest {

  private static final String RACE = "09b-concurrent-one-page";

  /** The race, and the dirty log that is read after it. */
  private static final int RUN = 4;

  private static final int GET_LOG = 5;

  static List<Recordings.Found> recordings() throws RecordingException {
    return RealRecordings.all();
  }

  // What is allowed.

  /** The rules are no rules for races: everything that the kernel did obeys them. */
  @ParameterizedTest
  @MethodSource("recordings")
  void everythingThatWasRecorded_isAllowed(Recordings.Found found) throws RecordingException {
    Recording recording = found.read();
    assertThat(RaceCheck.violations(recording, 0, withTheHostsOwn(recording))).isEmpty();
  }

  /** What the host does between two operations, such as to close guest_memfd, is in no outcome. */
  private static List<OpOutcome> withTheHostsOwn(Recording recording) {
    List<OpOutcome> outcomes = new ArrayList<>();
    for (RecordedOp op : recording.ops()) {
      OutcomeDraft draft = new OutcomeDraft(op.outcome());
      List<Event> before = op.linesBefore().stream().map(TraceLine::toEvent).toList();
      draft.events.addAll(0, before);
      outcomes.add(draft.outcome());
    }
    return outcomes;
  }

  @ParameterizedTest
  @ValueSource(strings = {"09-concurrent-toggle", RACE})
  void otherFrames_areAllowed(String name) throws RecordingException {
    Recording recording = RealRecordings.read(name);
    List<OpOutcome> outcomes = OtherAllocator.outcomes(recording);
    assertThat(RaceCheck.violations(recording, recording.firstConcurrentOp(), outcomes)).isEmpty();
  }

  /** Two CPUs may trace in the other order than they change. */
  @Test
  void neighboursInAnyOrder_areAllowed() throws RecordingException {
    assertThat(
            violations(
                RUN,
                draft -> {
                  for (int i = 1; i < draft.events.size(); i += 2) {
                    Collections.swap(draft.events, i - 1, i);
                  }
                }))
        .isEmpty();
  }

  // What is not.

  /**
   * An outcome of the race that cannot be.
   *
   * @param violation the start of what is said about it
   */
  private record Wrong(String what, Consumer<OutcomeDraft> edit, String violation) {
    @Override
    public String toString() {
      return what;
    }
  }

  static List<Wrong> wrongRaces() {
    return List.of(
        new Wrong(
            "a change that no rule allows",
            draft -> draft.replace("new_spte 117a03e65", "new_spte 117a04e65"),
            "no rule allows kvm_tdp_mmu_spte_changed: as id 0 gfn 40003 level 1"),
        new Wrong(
            "a fast fix of what is not MMU-writable",
            draft ->
                draft.replace("old 0x117a85e65 new 117a85e67", "old 0x117a85a65 new 117a85a67"),
            "no rule allows fast_page_fault: vcpu"),
        new Wrong(
            "a change that is not traced",
            draft -> draft.events.remove(draft.find("old_spte 117a03e67 new_spte 117a03e65")),
            "l1 gfn 40003: value 117a03"),
        new Wrong(
            "a change that is traced twice",
            draft -> {
              int at = draft.find("old_spte 117a03e67 new_spte 117a03e65");
              draft.events.add(at, draft.events.get(at));
            },
            "l1 gfn 40003: value 117a03"),
        new Wrong(
            "a fast fix that is not traced",
            draft -> draft.events.remove(draft.find("old 0x117a85e65 new 117a85e67")),
            "l1 gfn 40085: value 117a85"),
        new Wrong(
            "a child that did not inherit D",
            draft -> {
              draft.replace(
                  "old_spte 117a03e67 new_spte 117a03e65", "old_spte 117a03e27 new_spte 117a03e25");
              draft.replace("old_spte 117a03e65 new_spte 80", "old_spte 117a03e25 new_spte 80");
            },
            "l1 gfn 40003: value 117a03e07 changes A or D without a trace"),
        new Wrong(
            "an entry of a table that is gone is not frozen",
            draft ->
                draft.events.remove(draft.find("gfn 40003 level 1 old_spte 117a03e65 new_spte 80")),
            "l1 gfn 40003: value 117a03"),
        new Wrong(
            "a table that is linked is not the one in the dump",
            draft -> draft.replaceInTable("0000000116dfc827", "0000000116dfd827"),
            "l2 gfn 40000: value 116dfc827 is entered more often than left"),
        new Wrong(
            "an entry that nobody touched is another after it",
            draft -> draft.replaceInTable("leaf L1 gfn=0x1 n=1", "leaf L1 gfn=0x2 n=1"),
            "l1 gfn 1: value 10a2f7e07 is entered more often than left"),
        new Wrong(
            "a change in a table that is not there",
            draft -> draft.replace("gfn 40003 level 1", "gfn 80003 level 1"),
            "l1 gfn 80003 changed, but no table has it"),
        new Wrong(
            "a split without an event",
            draft -> draft.events.remove(draft.find("kvm_mmu_split_huge_page")),
            "5 splits, but 4 split_huge_page events"),
        new Wrong(
            "a table that is taken down without an event",
            draft -> draft.events.remove(draft.find("kvm_mmu_prepare_zap_page")),
            "4 tables gone, but 3 prepare_zap_page events"),
        new Wrong(
            "children that are not counted",
            draft -> draft.vmStats.merge("pages_4k", -512L, Long::sum),
            "512 LEVEL_4K leafs more by the events, but 0 pages_4k"),
        new Wrong(
            "a leaf that the dump lacks",
            draft -> draft.vmStats.merge("pages_2m", 1L, Long::sum),
            "-1 LEVEL_2M leafs more by the events, but 0 pages_2m"),
        new Wrong(
            "a flush that is not counted",
            draft -> draft.vmStats.merge("remote_tlb_flush_requests", -1L, Long::sum),
            "9 flushes, but 8 remote_tlb_flush_requests"),
        new Wrong(
            "more flushes than were asked for",
            draft -> draft.vmStats.put("remote_tlb_flush", 10L),
            "10 remote_tlb_flush, but only 9 remote_tlb_flush_requests"),
        new Wrong(
            "a fault without an end",
            draft -> draft.addToVcpu("pf_taken", 1),
            "907 faults with an end, or retried, but 908 pf_taken"),
        new Wrong(
            "a retry that is not counted",
            draft -> draft.replace("ret_pf=1", "ret_pf=4"),
            "906 faults with an end, or retried, but 907 pf_taken"),
        new Wrong(
            "a fix that is not counted",
            draft -> draft.addToVcpu("pf_fixed", -1),
            "832 faults fixed, but 831 pf_fixed"),
        new Wrong(
            "a fast fix that is not counted",
            draft -> draft.addToVcpu("pf_fast", -1),
            "828 fast page faults that helped, but 827 pf_fast"),
        new Wrong(
            "a spurious fault that is not counted",
            draft -> draft.addToVcpu("pf_spurious", -1),
            "1 spurious, but 0 pf_spurious"),
        new Wrong(
            "an emulated fault that is not counted",
            draft -> draft.replace("ret_pf=5", "ret_pf=2"),
            "831 faults fixed, but 832 pf_fixed"),
        new Wrong(
            "a dump that is none",
            draft -> draft.table = Optional.of("root hpa=0x1000 level=4\n"),
            "no dump, but line 1"));
  }

  @ParameterizedTest
  @MethodSource("wrongRaces")
  void wrongRace_isFound(Wrong wrong) throws RecordingException {
    assertThat(violations(RUN, wrong.edit()))
        .anyMatch(text -> text.startsWith("op 4 concurrent: " + wrong.violation()));
  }

  static List<Wrong> wrongLogs() {
    return List.of(
        new Wrong(
            "a writable page is not reported",
            draft -> ranges(draft).remove(0),
            "gfn 40000 is writable, but not in the dirty log"),
        new Wrong(
            "a page is reported that never became writable",
            draft -> ranges(draft).add(new long[] {18, 1}),
            "gfn 40012 is in the dirty log, but never became writable"),
        new Wrong(
            "a page that was reported stays writable",
            draft ->
                draft.replaceInTable(
                    "leaf L1 gfn=0x40000 n=512 spte=0x0000000117a00e65",
                    """
                leaf L1 gfn=0x40000 n=1 spte=0x0000000117a00e67
                leaf L1 gfn=0x40001 n=511 spte=0x0000000117a01e65"""),
            "gfn 40000 stays writable in an empty dirty log"));
  }

  @ParameterizedTest
  @MethodSource("wrongLogs")
  void wrongDirtyLog_isFound(Wrong wrong) throws RecordingException {
    assertThat(violations(GET_LOG, wrong.edit()))
        .anyMatch(text -> text.startsWith("op 5 get_dirty_log: " + wrong.violation()));
  }

  private static List<long[]> ranges(OutcomeDraft draft) {
    List<long[]> ranges = new ArrayList<>(draft.dirtyRanges.orElseThrow());
    draft.dirtyRanges = Optional.of(ranges);
    return ranges;
  }

  @Test
  void manyViolationsOfOneOperation_areCut() throws RecordingException {
    assertThat(violations(GET_LOG, draft -> draft.dirtyRanges = Optional.of(List.of())))
        .hasSize(20)
        .allMatch(text -> text.endsWith("is writable, but not in the dirty log"));
  }

  @Test
  void operationsBeforeTheRace_areLeftToTheComparison() throws RecordingException {
    assertThat(violations(2, draft -> draft.events.clear())).isEmpty();
  }

  private static ImmutableList<String> violations(int op, Consumer<OutcomeDraft> edit)
      throws RecordingException {
    Recording recording = RealRecordings.read(RACE);
    List<OpOutcome> outcomes = OutcomeDraft.edit(recording, op, edit);
    return RaceCheck.violations(recording, recording.firstConcurrentOp(), outcomes);
  }
}
