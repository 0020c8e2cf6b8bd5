package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Right answers are equal; wrong ones are not, one for each area that a rule can be wrong in. */
class ComparisonTest {

  private static final String THP = "01-thp2m-enable-tiny";

  /** The operation of {@link #THP} that enables dirty logging. */
  private static final int ENABLE = 4;

  static List<Recordings.Found> recordings() throws RecordingException {
    return RealRecordings.all();
  }

  // What is equal.

  @ParameterizedTest
  @MethodSource("recordings")
  void theKernelItself_isEqual(Recordings.Found found) throws RecordingException {
    Recording recording = found.read();
    assertThat(Comparison.firstDifference(recording, recording.outcomes())).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("recordings")
  void otherFrames_areEqual(Recordings.Found found) throws RecordingException {
    Recording recording = found.read();
    List<OpOutcome> outcomes = OtherAllocator.outcomes(recording);
    assertThat(outcomes).isNotEqualTo(recording.outcomes());
    assertThat(Comparison.firstDifference(recording, outcomes)).isEmpty();
  }

  @Test
  void leafsCutIntoOtherLines_areEqual() throws RecordingException {
    assertThat(
            difference(
                THP,
                ENABLE,
                draft ->
                    draft.replaceInTable(
                        "leaf L1 gfn=0x40000 n=512 spte=0x0000000112600e65\n",
                        """
                        leaf L1 gfn=0x40000 n=1 spte=0x0000000112600e65
                        leaf L1 gfn=0x40001 n=511 spte=0x0000000112601e65
                        """)))
        .isEmpty();
  }

  @Test
  void dirtyPagesCutIntoOtherRanges_areEqual() throws RecordingException {
    assertThat(
            difference(
                "07-write-faults-thp",
                9,
                draft -> {
                  List<long[]> single = new ArrayList<>();
                  for (long[] range : draft.dirtyRanges.orElseThrow()) {
                    for (long page = 0; page < range[1]; page++) {
                      single.add(new long[] {range[0] + page, 1});
                    }
                  }
                  draft.dirtyRanges = Optional.of(single);
                }))
        .isEmpty();
  }

  @Test
  void interruptOfTheHost_isNoExit() throws RecordingException {
    assertThat(
            difference(
                THP,
                2,
                draft -> {
                  draft.addToVcpu("exits", 1);
                  draft.addToVcpu("irq_exits", 1);
                  draft.addToVcpu("preemption_other", 1);
                }))
        .isEmpty();
  }

  @Test
  void eventsThatWereNotRecorded_areLeftOut() throws RecordingException {
    String change = "as id 0 gfn 40000 level 1 old_spte 180000e67 new_spte 180000e65";
    Consumer<OutcomeDraft> more = draft -> draft.events.add(0, new Event(SpteChange.NAME, change));

    assertThat(difference("03-1g-enable-full", 3, more)).isEmpty();
    assertThat(difference(THP, ENABLE, more)).isPresent();
  }

  // What differs.

  /**
   * A wrong answer and how it is found.
   *
   * @param area what a rule got wrong
   * @param what the line that is named
   * @param recorded part of the kernel's line
   * @param emulated part of the other line
   */
  private record Wrong(
      String area,
      String recording,
      int op,
      Consumer<OutcomeDraft> edit,
      String what,
      String recorded,
      String emulated) {
    @Override
    public String toString() {
      return area;
    }
  }

  static List<Wrong> wrongEvents() {
    return List.of(
        new Wrong(
            "split order: the second huge page first",
            THP,
            ENABLE,
            draft -> draft.move(draft.find("get_page: sp gen 0 gfn 40200"), 3, 0),
            "event 1",
            "gfn 40000 l1",
            "gfn 40200 l1"),
        new Wrong(
            "split order: write-protected before the second is split",
            THP,
            ENABLE,
            draft ->
                draft.move(
                    draft.find("gfn 40000 level 1 old_spte"),
                    512,
                    draft.find("get_page: sp gen 0 gfn 40200")),
            "event 4",
            "kvm_mmu_get_page: sp gen 0 gfn 40200",
            "gfn 40000 level 1"),
        new Wrong(
            "child value: one bit",
            THP,
            ENABLE,
            draft ->
                draft.replace(
                    "old_spte 112605e67 new_spte 112605e65",
                    "old_spte 112605e27 new_spte 112605e25"),
            "event 12",
            "old_spte 112605e67",
            "old_spte 112605e27"),
        new Wrong(
            "child value: the frame of the next page",
            THP,
            ENABLE,
            draft ->
                draft.replace(
                    "old_spte 112605e67 new_spte 112605e65",
                    "old_spte 112606e67 new_spte 112606e65"),
            "event 12",
            "112605e65",
            "112606e65"),
        new Wrong(
            "child value: a frame that nobody lists",
            THP,
            ENABLE,
            draft ->
                draft.replace(
                    "old_spte 112605e67 new_spte 112605e65",
                    "old_spte 777605e67 new_spte 777605e65"),
            "event 12",
            "112605e65",
            "8000777605e65"),
        new Wrong(
            "child value: PS kept",
            THP,
            ENABLE,
            draft ->
                draft.replace(
                    "old_spte 112600e67 new_spte 112600e65",
                    "old_spte 112600ee7 new_spte 112600ee5"),
            "event 7",
            "112600e65",
            "112600ee5"),
        new Wrong(
            "flush count: one more",
            THP,
            ENABLE,
            draft -> draft.events.add(new Event("flush_remote_tlbs", "")),
            "event 1032",
            "(nothing more)",
            "flush_remote_tlbs"),
        new Wrong(
            "flush count: none",
            THP,
            ENABLE,
            draft -> draft.events.remove(new Event("flush_remote_tlbs", "")),
            "event 1031",
            "flush_remote_tlbs",
            "(nothing more)"),
        new Wrong(
            "flush placement: after the change instead of before",
            "05-disable-recover",
            6,
            draft -> {
              int flush = draft.events.indexOf(new Event("flush_remote_tlbs", ""));
              draft.move(flush, 1, flush + 1);
            },
            "event 1",
            "flush_remote_tlbs",
            "gfn 40000 level 2 old_spte 116e7b827 new_spte 8000000000000000"),
        new Wrong(
            "zap order: tables before leafs",
            "06a-delete-slot",
            7,
            draft ->
                draft.move(
                    draft.find("827 new_spte 8000000000000000"), 514, draft.find("gfn 1 level 1")),
            "event 2",
            "gfn 1 level 1",
            "gfn 0 level 2"),
        new Wrong(
            "an event is missing",
            THP,
            ENABLE,
            draft -> draft.events.remove(draft.find("kvm_mmu_split_huge_page: gfn 40200")),
            "event 6",
            "kvm_mmu_split_huge_page: gfn 40200",
            "gfn 40000 level 1"),
        new Wrong(
            "an event too many",
            THP,
            3,
            draft ->
                draft.events.add(
                    0, new Event("kvm_page_fault", "vcpu 0 rip 0x0 address 0x0 error_code 0x0")),
            "event 1",
            "address 0x0000000040207000",
            "address 0x0 "),
        new Wrong(
            "a fault's return code",
            THP,
            3,
            draft -> draft.replace("ret_pf=5", "ret_pf=6"),
            "event 5",
            "tdp_map_ret: ret_pf=5",
            "tdp_map_ret: ret_pf=6"),
        new Wrong(
            "the generation of an MMIO SPTE",
            "06e-mmio",
            1,
            draft -> draft.replace("access 7 gen 2", "access 7 gen 4"),
            "event 20",
            "mark_mmio_spte: gfn 40000 access 7 gen 2",
            "mark_mmio_spte: gfn 40000 access 7 gen 4"),
        new Wrong(
            "the order of the dirty ring and the fix",
            "12-dirty-ring",
            4,
            draft -> {
              int push = draft.find("kvm_dirty_ring_push");
              draft.move(push, 1, push + 1);
            },
            "event 2",
            "kvm_dirty_ring_push",
            "fast_page_fault"));
  }

  static List<Wrong> wrongFrames() {
    return List.of(
        new Wrong(
            "a frame that holds a table is linked again",
            THP,
            ENABLE,
            draft -> draft.replace("116bbd827", "116bbe827"),
            "event 5",
            "new_spte 116bbd827",
            "new_spte 116bbe827"),
        new Wrong(
            "a frame that holds no table is unlinked",
            "05-disable-recover",
            6,
            draft -> draft.replace("old_spte 116e7b827", "old_spte 500e7b827"),
            "event 2",
            "old_spte 116e7b827",
            "old_spte 8000500e7b827"),
        new Wrong(
            "the frame of another table is unlinked",
            "05-disable-recover",
            6,
            draft -> draft.replace("old_spte 116e7b827", "old_spte 116b9e827"),
            "event 2",
            "old_spte 116e7b827",
            "old_spte 116b9e827"),
        new Wrong(
            "a leaf is set in another table",
            THP,
            3,
            draft -> draft.replace("at 116bc6008", "at 116bc5008"),
            "event 4",
            "at 116bc6008",
            "at 116bc5008"),
        new Wrong(
            "a leaf is set in another entry",
            THP,
            3,
            draft -> draft.replace("at 116bc6008", "at 116bc6010"),
            "event 4",
            "at 116bc6008",
            "at 116bc6010"),
        new Wrong(
            "the dump swaps two tables",
            THP,
            ENABLE,
            draft -> {
              draft.replaceInTable("0000000116bbe827", "0000000116bbX827");
              draft.replaceInTable("0000000116bbd827", "0000000116bbe827");
              draft.replaceInTable("0000000116bbX827", "0000000116bbd827");
            },
            "line of the dump 7",
            "table L2 gfn=0x40000 spte=0x0000000116bbe827",
            "table L2 gfn=0x40000 spte=0x0000000116bbd827"),
        new Wrong(
            "the root moves",
            THP,
            3,
            draft -> draft.replaceInTable("root hpa=0x116bc2000", "root hpa=0x500bc2000"),
            "line of the dump 1",
            "root hpa=0x116bc2000",
            "root hpa=0x8000500bc2000"),
        new Wrong(
            "the guest's code moves",
            "06a-delete-slot",
            8,
            draft -> draft.replace("gfn 1 pfn 112483", "gfn 1 pfn 777483"),
            "event 3",
            "gfn 1 pfn 112483",
            "gfn 1 pfn 8000777483"));
  }

  static List<Wrong> wrongResults() {
    return List.of(
        new Wrong(
            "a return code",
            "06d-readonly-slots",
            9,
            draft -> draft.errno = 22,
            "answer 1",
            "rc -1 errno 17",
            "rc -1 errno 22"),
        new Wrong(
            "statistics: the 512 children are not added",
            THP,
            ENABLE,
            draft -> draft.vmStats.merge("pages_4k", -512L, Long::sum),
            "statistic 10",
            "vm pages_4k 1025",
            "vm pages_4k 513"),
        new Wrong(
            "statistics: a flush is not counted",
            THP,
            ENABLE,
            draft -> draft.vmStats.merge("remote_tlb_flush_requests", -1L, Long::sum),
            "statistic 2",
            "vm remote_tlb_flush_requests 1",
            "vm remote_tlb_flush_requests 0"),
        new Wrong(
            "statistics: one that the TDP MMU never moves",
            THP,
            ENABLE,
            draft -> draft.vmStats.put("mmu_recycled", 1L),
            "statistic 7",
            "vm mmu_recycled 0",
            "vm mmu_recycled 1"),
        new Wrong(
            "statistics: a fault is counted twice",
            THP,
            2,
            draft -> draft.addToVcpu("pf_fixed", 1),
            "statistic 17",
            "vcpu0 pf_fixed +2",
            "vcpu0 pf_fixed +3"),
        new Wrong(
            "statistics: an exit that no interrupt explains",
            THP,
            2,
            draft -> draft.addToVcpu("exits", 1),
            "statistic 26",
            "vcpu0 exits but for interrupts +3",
            "vcpu0 exits but for interrupts +4"),
        new Wrong(
            "the dirty log: off by one",
            "07-write-faults-thp",
            9,
            draft ->
                draft.dirtyRanges = Optional.of(List.of(new long[] {3, 4}, new long[] {511, 2})),
            "report 1",
            "dirty pages [2, 6)",
            "dirty pages [3, 7)"),
        new Wrong(
            "the dirty log: a page is missing",
            "07-write-faults-thp",
            9,
            draft -> draft.dirtyRanges = Optional.of(List.<long[]>of(new long[] {2, 4})),
            "report 2",
            "dirty pages [511, 513)",
            "(nothing more)"),
        new Wrong(
            "the dirty ring: another order",
            "12-dirty-ring",
            5,
            draft -> {
              List<long[]> entries = new ArrayList<>(draft.entries.orElseThrow());
              entries.add(0, entries.remove(1));
              draft.entries = Optional.of(entries);
            },
            "report 1",
            "dirty ring: slot 1 page 2",
            "dirty ring: slot 1 page 3"),
        new Wrong(
            "an MMIO exit is missing",
            "06e-mmio",
            1,
            draft -> draft.mmioExits = OptionalInt.empty(),
            "report 1",
            "mmio_exits 1",
            "mmio_exits 0"),
        new Wrong(
            "an MMIO exit is elsewhere",
            "06e-mmio",
            1,
            draft -> draft.lastMmioGpa = OptionalLong.of(0x40001000),
            "report 2",
            "last_mmio_gpa 0x40000000",
            "last_mmio_gpa 0x40001000"));
  }

  static List<Wrong> wrongTables() {
    return List.of(
        bit("A", 1L << 5),
        bit("D", 1L << 6),
        bit("W", 1L << 1),
        bit("NX", 1L << 63),
        bit("HOST_WRITABLE", 1L << 9),
        new Wrong(
            "one leaf of many differs",
            THP,
            ENABLE,
            draft ->
                draft.replaceInTable(
                    "leaf L1 gfn=0x40000 n=512 spte=0x0000000112600e65",
                    """
                    leaf L1 gfn=0x40000 n=7 spte=0x0000000112600e65
                    leaf L1 gfn=0x40007 n=1 spte=0x0000000112607e67
                    leaf L1 gfn=0x40008 n=504 spte=0x0000000112608e65"""),
            "line of the dump 8",
            "leaf L1 gfn=0x40000 n=512",
            "leaf L1 gfn=0x40000 n=7"),
        new Wrong(
            "a table too many",
            "01g-enable-empty-and-again",
            5,
            draft -> {
              draft.replaceInTable("total tables(incl root)=6", "total tables(incl root)=7");
              draft.replaceInTable("total", "table L2 gfn=0x40a00 spte=0x0000000500000827\ntotal");
            },
            "line of the dump 12",
            "total",
            "table L2 gfn=0x40a00"),
        new Wrong(
            "a total that the lines do not add up to",
            THP,
            ENABLE,
            draft -> draft.replaceInTable("leaf4k=1025", "leaf4k=1024"),
            "line of the dump 1",
            "root hpa",
            "no dump, but line 11: the lines add up to"),
        new Wrong(
            "no dump",
            THP,
            ENABLE,
            draft -> draft.table = Optional.empty(),
            "line of the dump 1",
            "root hpa",
            "no dump"));
  }

  private static Wrong bit(String name, long mask) {
    String right = "spte=0x%016x".formatted(0x112600ee7L);
    String wrong = "spte=0x%016x".formatted(0x112600ee7L ^ mask);
    return new Wrong(
        name + " of a leaf in the dump",
        THP,
        3,
        draft -> draft.replaceInTable(right, wrong),
        "line of the dump 7",
        right,
        wrong);
  }

  @ParameterizedTest
  @MethodSource({"wrongEvents", "wrongFrames", "wrongResults", "wrongTables"})
  void wrongAnswer_isFoundWhereItIs(Wrong wrong) throws RecordingException {
    Difference found = difference(wrong.recording(), wrong.op(), wrong.edit()).orElseThrow();

    assertThat(found.op()).isEqualTo(wrong.op());
    assertThat(found.what()).isEqualTo(wrong.what());
    assertThat(found.recorded()).contains(wrong.recorded());
    assertThat(found.emulated()).contains(wrong.emulated());
  }

  @Test
  void difference_namesTheTraceLineAndWhatCameBefore() throws RecordingException {
    assertThat(
            difference(
                THP, ENABLE, draft -> draft.replace("gfn 40001 level 1", "gfn 40002 level 1")))
        .hasValue(
            new Difference(
                4,
                "set_user_memory_region",
                "event 8",
                "kvm_tdp_mmu_spte_changed: as id 0 gfn 40001 level 1 old_spte 112601e67 new_spte 112601e65",
                "kvm_tdp_mmu_spte_changed: as id 0 gfn 40002 level 1 old_spte 112601e67 new_spte 112601e65",
                OptionalInt.of(63),
                ImmutableList.of(
                    "kvm_tdp_mmu_spte_changed: as id 0 gfn 40200 level 2 old_spte 117400ee7 new_spte 116bbd827",
                    "kvm_mmu_split_huge_page: gfn 40200 spte 117400ee7 level 2 errno 0",
                    "kvm_tdp_mmu_spte_changed: as id 0 gfn 40000 level 1 old_spte 112600e67 new_spte 112600e65")));
  }

  /** After the first race no two runs agree; {@link RaceCheck} has a look instead. */
  @Test
  void race_isComparedUpToItsStart() throws RecordingException {
    Consumer<OutcomeDraft> noEvents = draft -> draft.events.clear();

    assertThat(difference("09-concurrent-toggle", 3, draft -> draft.rc = 1)).isPresent();
    assertThat(difference("09-concurrent-toggle", 4, noEvents)).isEmpty();
    assertThat(difference("09-concurrent-toggle", 5, noEvents)).isEmpty();
  }

  private static Optional<Difference> difference(String name, int op, Consumer<OutcomeDraft> edit)
      throws RecordingException {
    Recording recording = RealRecordings.read(name);
    return Comparison.firstDifference(recording, OutcomeDraft.edit(recording, op, edit));
  }
}
