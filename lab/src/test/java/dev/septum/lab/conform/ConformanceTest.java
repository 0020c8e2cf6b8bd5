package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.septum.lab.Progress;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ConformanceTest {

  private static final String THP = "01-thp2m-enable-tiny";
  private static final String RACE = "09b-concurrent-one-page";

  @TempDir Path dir;

  private final List<String> phases = new ArrayList<>();

  private final Progress progress =
      new Progress() {
        @Override
        public void phase(String name, long total) {
          phases.add("%s (%d)".formatted(name, total));
        }

        @Override
        public void reached(long done) {}
      };

  @Test
  void recordingWithoutARace_isReplayedOnce() throws IOException {
    ConformResult result = check(THP, (recording, p) -> recording.outcomes(), 5);

    assertThat(result)
        .isEqualTo(new ConformResult(THP, 6, 2092, 0, Optional.empty(), result.violations()));
    assertThat(result.isEqual()).isTrue();
    assertThat(phases).containsExactly(THP + ", only run (2092)");
  }

  @Test
  void race_isReplayedAgainAndAgain() throws IOException {
    ConformResult result = check(RACE, (recording, p) -> recording.outcomes(), 3);

    assertThat(result.isEqual()).isTrue();
    assertThat(result.races()).isEqualTo(3);
    assertThat(phases)
        .containsExactly(
            RACE + ", run 1 of 3 (7561)",
            RACE + ", run 2 of 3 (7561)",
            RACE + ", run 3 of 3 (7561)");
  }

  @Test
  void race_endsWithTheFirstRunThatIsNotAllowed() throws IOException {
    int[] runs = {0};
    ConformResult result =
        check(
            RACE,
            (recording, p) ->
                ++runs[0] < 2
                    ? recording.outcomes()
                    : OutcomeDraft.edit(
                        recording, 4, draft -> draft.vmStats.put("remote_tlb_flush", 99L)),
            5);

    assertThat(result.isEqual()).isFalse();
    assertThat(result.races()).isEqualTo(2);
    assertThat(result.difference()).isEmpty();
    assertThat(result.violations())
        .containsExactly(
            "run 2 of 5: op 4 concurrent: 99 remote_tlb_flush, but only 9"
                + " remote_tlb_flush_requests");
  }

  /** A recording that breaks the rules would make every verdict worthless. */
  @Test
  void raceThatWasRecorded_isCheckedEvenIfNoneIsRun() throws IOException {
    Path folder = RealRecordings.unpack(RACE, dir);
    Path ops = folder.resolve("ops.json");
    Files.writeString(
        ops, Files.readString(ops).replace("\"remote_tlb_flush\":3", "\"remote_tlb_flush\":99"));

    ConformResult result =
        conformance((r, p) -> List.of(), 0).check(Recording.read(folder), progress);

    assertThat(phases).isEmpty();
    assertThat(result.violations())
        .containsExactly(
            "recorded: op 4 concurrent: 99 remote_tlb_flush, but only 9 remote_tlb_flush_requests");
  }

  @Test
  void emulatorThatStops_isAFinding() throws IOException {
    ConformResult result =
        check(
            THP,
            (recording, p) -> {
              throw new IllegalStateException("pfn 0x7 belongs to free");
            },
            1);

    assertThat(result.isEqual()).isFalse();
    assertThat(result.violations())
        .containsExactly(
            "the emulator stopped: java.lang.IllegalStateException: pfn 0x7 belongs to free");
  }

  @Test
  void recordingThatCannotBeReplayed_isBadInput() {
    assertThatThrownBy(
            () ->
                check(
                    THP,
                    (recording, p) -> {
                      throw new RecordingException("no such operation");
                    },
                    1))
        .isInstanceOf(RecordingException.class)
        .hasMessage("no such operation");
  }

  @Test
  void outcomesOfOtherNumber_areNoReplay() {
    assertThatThrownBy(() -> check(THP, (recording, p) -> recording.outcomes().subList(0, 5), 1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("5 outcomes for 6 operations");
  }

  // Both sides as text.

  @Test
  void texts_areEqualIfAllIs() throws IOException {
    Conformance writing =
        new Conformance((recording, p) -> OtherAllocator.outcomes(recording), 1, dir);
    for (String name : List.of(THP, "la57/" + THP, "13-guest-memfd")) {
      for (Recordings.Found found : Recordings.find(RealRecordings.FOLDER)) {
        if (found.name().equals(name)) {
          writing.check(found.read(), progress);
        }
      }
      assertThat(dir.resolve(name + "/septum.txt"))
          .hasSameTextualContentAs(dir.resolve(name + "/recorded.txt"));
    }
  }

  @Test
  void texts_haveEveryOperationAndWhatDiffers() throws IOException {
    Conformance writing =
        new Conformance(
            (recording, p) ->
                OutcomeDraft.edit(recording, 4, d -> d.replace("112605e65", "112605e25")),
            1,
            dir);
    writing.check(RealRecordings.read(THP), progress);

    List<String> recorded = Files.readAllLines(dir.resolve(THP + "/recorded.txt"));
    List<String> septum = Files.readAllLines(dir.resolve(THP + "/septum.txt"));
    assertThat(recorded)
        .startsWith("# op 0 create_vm", "rc 0 errno 0", "vm remote_tlb_flush 0")
        .containsSubsequence(
            "# op 3 touch",
            "kvm_page_fault: vcpu 0 rip 0x1000 address 0x0000000040207000 error_code 0x100000004",
            "tdp_map_ret: ret_pf=5",
            "vm pages_2m 2",
            "vcpu0 pf_taken +1",
            "mmio_exits 0",
            "leaf L2 gfn=0x40200 n=1 spte=0x0000000117400ee7",
            "# op 5 destroy_vm");
    assertThat(septum).hasSameSizeAs(recorded);
    recorded.removeAll(Files.readAllLines(dir.resolve(THP + "/septum.txt")));
    assertThat(recorded)
        .containsExactly(
            SpteChange.NAME + ": as id 0 gfn 40005 level 1 old_spte 112605e67 new_spte 112605e65");
  }

  private ConformResult check(String name, Replayer replayer, int races) throws IOException {
    return conformance(replayer, races).check(RealRecordings.read(name), progress);
  }

  private static Conformance conformance(Replayer replayer, int races) {
    return new Conformance(replayer, races, null);
  }
}
