package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.collect.ImmutableMap;
import dev.septum.kvm.PageLevel;
import dev.septum.lab.conform.Backing.Mapping;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class RecordingTest {

  private static final String THP = "01-thp2m-enable-tiny";

  @TempDir Path dir;

  // What is read.

  @Test
  void header_isRead() throws RecordingException {
    assertThat(RealRecordings.read("03-1g-enable-full").header())
        .isEqualTo(
            new Recording.Header(
                "03-1g-enable-full",
                "1G hugetlb mapped as one 1G SPTE; enable logging: 1G->512x2M->262144x4K"
                    + " (spte_changed events filtered to level>1)",
                PageLevel.LEVEL_2M,
                true,
                false,
                PageLevel.LEVEL_512G,
                true));
  }

  @Test
  void operation_hasItsParametersAndResults() throws RecordingException {
    Recording recording = RealRecordings.read(THP);
    RecordedOp touch = recording.ops().get(2);

    assertThat(recording.name()).isEqualTo(THP);
    assertThat(recording.opCount()).isEqualTo(6);
    assertThat(recording.eventCount()).isEqualTo(2092);
    assertThat(touch).hasToString("op 2 touch");
    assertThat(touch.fields().longValue("gpa")).isEqualTo(0x40005000);
    assertThat(touch.fields().intValue("count")).isEqualTo(1);
    assertThat(touch.fields().text("kind")).isEqualTo("w");
    assertThat(touch.fields().flag("host_sees_write")).isTrue();
    assertThat(touch.isConcurrent()).isFalse();
    assertThat(touch.vmStatsBefore()).containsEntry("pages_2m", 0L);
    assertThat(touch.outcome().rc()).isZero();
    assertThat(touch.outcome().vmStats()).hasSize(15).containsEntry("pages_2m", 1L);
    assertThat(touch.outcome().vcpuDeltas())
        .isEqualTo(
            ImmutableMap.of(
                0,
                Map.of(
                    "pf_taken", 2L,
                    "pf_fixed", 2L,
                    "tlb_flush", 1L,
                    "exits", 3L,
                    "io_exits", 1L,
                    "host_state_reload", 2L,
                    "fpu_reload", 1L,
                    "req_event", 1L)));
    assertThat(touch.outcome().mmioExits()).hasValue(0);
    assertThat(touch.outcome().lastMmioGpa()).isEmpty();
    assertThat(touch.outcome().dirtyRanges()).isEmpty();
  }

  @Test
  void operation_hasItsPartOfTheTrace() throws RecordingException {
    RecordedOp touch = RealRecordings.read(THP).ops().get(3);

    assertThat(touch.linesBefore()).isEmpty();
    assertThat(touch.lines())
        .containsExactly(
            new TraceLine(
                0,
                39,
                "kvm_page_fault",
                "vcpu 0 rip 0x1000 address 0x0000000040207000 error_code 0x100000004",
                44),
            new TraceLine(0, 40, "kvm_mmu_spte_requested", "gfn 40207 pfn 117407 level 2", 45),
            new TraceLine(
                0,
                41,
                "kvm_tdp_mmu_spte_changed",
                "as id 0 gfn 40200 level 2 old_spte 8000000000000000 new_spte 117400ee7",
                46),
            new TraceLine(
                0,
                42,
                "kvm_mmu_set_spte",
                "gfn 40200 spte 117400ee7 (rwxu) level 2 at 116bc6008",
                47),
            new TraceLine(
                0,
                43,
                "tdp_map_ret",
                "(kvm_tdp_page_fault+0xc9/0xf0 [kvm] <- kvm_tdp_mmu_map) ret_pf=5",
                48));
    assertThat(touch.outcome().events().get(4)).isEqualTo(new Event("tdp_map_ret", "ret_pf=5"));
  }

  @Test
  void whatTheHostDoesBetween_isKeptApart() throws RecordingException {
    Recording recording = RealRecordings.read("13-guest-memfd");

    assertThat(recording.ops().get(20).linesBefore())
        .extracting(TraceLine::event)
        .containsSubsequence("unmap_gfn_range", SpteChange.NAME, "flush_remote_tlbs");
    assertThat(recording.ops().get(20).outcome().events())
        .extracting(Event::name)
        .startsWith("zap_all")
        .doesNotContain("flush_remote_tlbs");
  }

  @Test
  void backing_isFoundByHostAddress() throws RecordingException {
    Backing backing =
        RealRecordings.read("01e-mixed-backing-enable").ops().get(1).backing().orElseThrow();
    Backing.Slot slot = backing.slots().get(0);

    assertThat(backing.slotAt(slot.hva())).hasValue(slot);
    assertThat(backing.slotAt(slot.hva() - 1)).isEmpty();
    assertThat(backing.slotAt(slot.hva() + slot.size())).isEmpty();
    assertThat(backing.runAt(slot.hva() + 0x5000).orElseThrow().pfnAt(5))
        .isEqualTo(slot.runs().get(0).pfn() + 5);
    assertThat(slot.runs()).extracting(Backing.Run::mapping).contains(Mapping.values());
    assertThat(backing.runAt(slot.hva() + slot.size())).isEmpty();
  }

  @Test
  void operationsThatShareABackingFile_haveTheSame() throws RecordingException {
    List<RecordedOp> ops = RealRecordings.read(THP).ops();
    assertThat(ops.get(2).backing().orElseThrow()).isSameAs(ops.get(1).backing().orElseThrow());
    assertThat(ops.get(5).backing()).isEmpty();
  }

  @Test
  void dump_isReadAndWrittenBack() throws RecordingException {
    for (Recordings.Found found : RealRecordings.all()) {
      for (RecordedOp op : found.read().ops()) {
        assertThat(op.table().map(t -> String.join("\n", t.lines()) + "\n"))
            .isEqualTo(op.outcome().table());
      }
    }
  }

  @Test
  void fiveLevelRoot_isRead() throws RecordingException {
    Recording recording = RealRecordings.read("la57/" + THP);
    assertThat(recording.header().rootLevel()).isEqualTo(PageLevel.LEVEL_256T);
  }

  @Test
  void race_startsAtItsFirstConcurrentOperation() throws RecordingException {
    assertThat(RealRecordings.read("09-concurrent-toggle").firstConcurrentOp()).isEqualTo(4);
    assertThat(RealRecordings.read(THP).isRace()).isFalse();
  }

  // Where recordings are.

  @Test
  void folders_areSearchedToTheirEnds() throws IOException {
    RealRecordings.unpack(THP, dir.resolve("a/b"));
    Files.createDirectories(dir.resolve("la57"));
    Files.copy(RealRecordings.zip(THP), dir.resolve("la57/x.zip"));
    Files.writeString(dir.resolve("README.md"), "no recording");

    assertThat(Recordings.find(dir))
        .containsExactly(
            new Recordings.Found("a/b/" + THP, dir.resolve("a/b/" + THP)),
            new Recordings.Found("la57/x", dir.resolve("la57/x.zip")));
    assertThat(Recordings.find(dir.resolve("la57/x.zip")))
        .containsExactly(new Recordings.Found("x", dir.resolve("la57/x.zip")));
  }

  @Test
  void folderAndZip_areTheSameRecording() throws IOException {
    Path folder = RealRecordings.unpack(THP, dir);
    assertThat(Recordings.find(folder).get(0).read().outcomes())
        .isEqualTo(RealRecordings.read(THP).outcomes());
  }

  @Test
  void noRecording_isAnError() throws IOException {
    Path file = Files.writeString(dir.resolve("file"), "");
    assertThatThrownBy(() -> Recordings.find(dir.resolve("nowhere")))
        .hasMessage("%s/nowhere: no such folder", dir);
    assertThatThrownBy(() -> Recordings.find(file))
        .hasMessage("%s: neither a folder nor a .zip file", file);
    assertThatThrownBy(() -> Recordings.find(dir))
        .isInstanceOf(RecordingException.class)
        .hasMessage("%s: no recording: no folder with ops.json and no .zip file", dir);
  }

  // What cannot be read.

  private interface Damage {
    void on(Path folder) throws IOException;
  }

  /** What is done to a recording, and what is said about it. */
  private record Damaged(String what, Damage damage, String message) {
    @Override
    public String toString() {
      return what;
    }
  }

  static List<Damaged> damages() {
    return List.of(
        new Damaged("no trace", remove("trace.txt"), "/trace.txt: no such file"),
        new Damaged("no dump", remove("pt-003.txt"), "/pt-003.txt: no such file"),
        new Damaged("no backing", remove("backing-001.txt"), "/backing-001.txt: no such file"),
        new Damaged(
            "JSON cut off",
            folder -> cut(folder.resolve("ops.json"), 3000),
            "/ops.json:18: Unexpected end-of-input"),
        new Damaged(
            "no key",
            replace("ops.json", "\"spte_changed_filter\":\"none\",", ""),
            "/ops.json has no 'spte_changed_filter'"),
        new Damaged(
            "no operations",
            folder ->
                Files.writeString(folder.resolve("ops.json"), "{\"ops\":[],\"sequence\":\"01\"}"),
            "/ops.json has no operations"),
        new Damaged(
            "a filter that is none",
            replace(
                "ops.json", "\"spte_changed_filter\":\"none\"", "\"spte_changed_filter\":\"some\""),
            "/ops.json: 'spte_changed_filter' is some, not none or a level"),
        new Damaged(
            "a parameter that is neither Y nor N",
            replace("ops.json", "\"nx_huge_pages\":\"N\"", "\"nx_huge_pages\":\"x\""),
            "/ops.json: 'nx_huge_pages' is x, not Y or N"),
        new Damaged(
            "a number in the wrong place",
            replace("ops.json", "{\"i\":3,", "{\"i\":4,"),
            "/ops.json: op 3 has the number 4"),
        new Damaged(
            "a statistic that is no number",
            replace("ops.json", "\"pages_4k\":1025", "\"pages_4k\":\"many\""),
            "/ops.json: op 4 set_user_memory_region: 'vm_stats_after' is \"many\", not a number"),
        new Damaged(
            "a return code of 64 bits",
            replace("ops.json", "\"rc\":0", "\"rc\":4294967296"),
            "/ops.json: op 0 create_vm: 'rc' is 4294967296, not a number of 32 bits"),
        new Damaged(
            "a line that is none of a trace",
            replace("trace.txt", "          oracle-219     [000] .....           10:", "oracle"),
            "/trace.txt:16: not a line of a trace: 'oracle tracing_mark_write"),
        new Damaged(
            "lost events",
            replace(
                "trace.txt",
                "          oracle-219     [000] .....           13:",
                "CPU:0 [LOST 7 EVENTS]\n#"),
            "/trace.txt:19: not a line of a trace: 'CPU:0 [LOST 7 EVENTS]'"),
        new Damaged(
            "an SPTE that is no number",
            replace("trace.txt", "new_spte 112465e67", "new_spte 112465xyz"),
            "/trace.txt:32: no number for 'new_spte' in 'as id 0 gfn 1 level 1"),
        new Damaged(
            "a time that is no number",
            replace("trace.txt", ".....           13:", ".....         13.5:"),
            "/trace.txt:19: not a line of a trace"),
        new Damaged(
            "a return that is no number",
            replace("trace.txt", "level 2 errno 0", "level 2 errno none"),
            "/trace.txt:55: no number for 'errno' in 'gfn 40000"),
        new Damaged(
            "an event without a field",
            replace("trace.txt", "gfn 1 pfn 112465 level 1", "gfn 1 level 1"),
            "/trace.txt:25: no 'pfn' in 'gfn 1 level 1'"),
        new Damaged(
            "a level that does not exist",
            replace("trace.txt", "gfn 40000 level 3 old", "gfn 40000 level 6 old"),
            "/trace.txt:38: level 6 is not in [1, 5]"),
        new Damaged(
            "an operation that is not in the trace",
            replace("trace.txt", "ORACLE begin op=3", "ORACLE began op=3"),
            "/trace.txt:49: op 3 ends, but it has not begun"),
        new Damaged(
            "an operation that is in the trace twice",
            replace("trace.txt", "ORACLE begin op=3", "ORACLE begin op=2"),
            "/trace.txt:43: op 2 begins twice"),
        new Damaged(
            "an operation inside of another",
            replace("trace.txt", "ORACLE end op=2", "ORACLE ende op=2"),
            "/trace.txt:43: op 3 begins inside of op 2"),
        new Damaged(
            "a trace that was cut off",
            folder -> cut(folder.resolve("trace.txt"), 300_000),
            "/trace.txt:2090: not a line of a trace"),
        new Damaged(
            "a trace that ends early",
            folder -> keepLines(folder.resolve("trace.txt"), 100),
            "/trace.txt: the trace ends inside of op 4"),
        new Damaged(
            "a trace that ends between operations",
            folder -> keepLines(folder.resolve("trace.txt"), 49),
            "/trace.txt: no op 4"),
        new Damaged(
            "a trace that is no text",
            folder -> Files.write(folder.resolve("trace.txt"), new byte[] {(byte) 0xff, 0}),
            "/trace.txt: is not text"),
        new Damaged(
            "a dump without a root",
            replace("pt-002.txt", "root hpa=0x116bc2000 level=4", "root"),
            "/pt-002.txt:1: not a root: 'root'"),
        new Damaged(
            "an empty dump",
            folder -> cut(folder.resolve("pt-002.txt"), 0),
            "/pt-002.txt:1: not a root: ''"),
        new Damaged(
            "a line that is none of a dump",
            replace("pt-002.txt", "leaf L1 gfn=0x1", "leave L1 gfn=0x1"),
            "/pt-002.txt:5: not a line of a dump: 'leave L1"),
        new Damaged(
            "a dump whose total is another",
            replace("pt-002.txt", "leaf2m=1", "leaf2m=2"),
            "/pt-002.txt:8: the lines add up to 'total tables(incl root)=5 leaf4k=1 leaf2m=1"),
        new Damaged(
            "a line that is none of a backing",
            replace("backing-001.txt", "pfn=0x117400 pmd", "pfn=0x117400 pme"),
            "/backing-001.txt:3: neither a slot nor its pages: ' pages=[0x200,+0x400) pfn=0x117400"),
        new Damaged(
            "pages without a slot",
            replace("backing-001.txt", "slot id", "slat id"),
            "/backing-001.txt:1: neither a slot nor its pages: 'slat id"));
  }

  @ParameterizedTest
  @MethodSource("damages")
  void damage_isNamedByFileAndLine(Damaged damaged) throws IOException {
    Path folder = RealRecordings.unpack(THP, dir);
    damaged.damage().on(folder);

    assertThatThrownBy(() -> Recording.read(folder))
        .isInstanceOf(RecordingException.class)
        .hasMessageStartingWith(folder + damaged.message());
  }

  @Test
  void zipThatWasCutOff_isAnError() throws IOException {
    Path zip = dir.resolve("cut.zip");
    Files.write(zip, Arrays.copyOf(Files.readAllBytes(RealRecordings.zip(THP)), 9000));
    assertThatThrownBy(() -> Recording.read(zip))
        .isInstanceOf(RecordingException.class)
        .hasMessageStartingWith(zip + ": cannot be read: ");
  }

  @Test
  void zipWithoutARecording_isAnError() throws IOException {
    Path zip = dir.resolve("empty.zip");
    Files.write(zip, emptyZip());
    assertThatThrownBy(() -> Recording.read(zip)).hasMessage("%s/ops.json: no such file", zip);
  }

  /** Only the record that ends each .zip file. */
  private static byte[] emptyZip() {
    return Arrays.copyOf("PK\005\006".getBytes(StandardCharsets.ISO_8859_1), 22);
  }

  @Test
  void parameterThatIsMissing_namesTheOperationAndTheKey() throws RecordingException {
    OpFields fields = RealRecordings.read(THP).ops().get(2).fields();
    assertThatThrownBy(() -> fields.longValue("slot"))
        .hasMessage("%s/ops.json: op 2 touch has no 'slot'", RealRecordings.zip(THP));
    assertThatThrownBy(() -> fields.longValue("kind"))
        .hasMessageEndingWith("op 2 touch: 'kind' is \"w\", not a number");
    assertThatThrownBy(() -> fields.text("count"))
        .hasMessageEndingWith("op 2 touch: 'count' is 1, not a text");
    assertThatThrownBy(() -> fields.flag("count"))
        .hasMessageEndingWith("op 2 touch: 'count' is 1, not true or false");
    assertThat(fields.optionalPairs("dirty_ranges")).isEqualTo(Optional.empty());
  }

  private static Damage remove(String file) {
    return folder -> Files.delete(folder.resolve(file));
  }

  private static Damage replace(String file, String oldText, String newText) {
    return folder -> {
      String text = Files.readString(folder.resolve(file));
      assertThat(text).contains(oldText);
      int at = text.indexOf(oldText);
      Files.writeString(
          folder.resolve(file),
          text.substring(0, at) + newText + text.substring(at + oldText.length()));
    };
  }

  private static void cut(Path file, int bytes) throws IOException {
    Files.write(file, Arrays.copyOf(Files.readAllBytes(file), bytes));
  }

  private static void keepLines(Path file, int lines) throws IOException {
    Files.write(file, Files.readAllLines(file).subList(0, lines));
  }
}
