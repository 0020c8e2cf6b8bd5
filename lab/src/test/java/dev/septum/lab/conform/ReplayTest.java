package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.lab.Progress;
import dev.septum.lab.TestBackends;
import dev.septum.mmu.DirtyLogBoundary;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Our MMU against every recording of the real one. */
class ReplayTest {

  private static final int RACES = 10;
  private static final String BOUNDARY = "02e-initset-noeager-boundary";
  private static final int CLEAR = 5;
  private static final int GET = 7;

  /** The page whose write the kernel loses: gfn 0x40400. */
  private static final long LOST_PAGE = 1008;

  static List<Recordings.Found> recordings() throws RecordingException {
    return RealRecordings.all();
  }

  @ParameterizedTest
  @MethodSource("recordings")
  void everyRecording_isReproduced(Recordings.Found found) throws IOException {
    Recording recording = found.read();

    ConformResult result =
        new Conformance(new Replay(), RACES, null).check(recording, Progress.OFF);

    assertThat(result.difference()).isEmpty();
    assertThat(result.violations()).isEmpty();
    assertThat(result.ops()).isPositive();
  }

  /** A VM without private memory is KVM's alone, whatever its backend. */
  @ParameterizedTest
  @ValueSource(strings = {"reference", "tdx", "tdx-v3"})
  void aRecording_isReproducedOnEveryBackend(String backend) throws IOException {
    for (Recordings.Found found : RealRecordings.all().subList(0, 6)) {
      ConformResult result =
          new Conformance(new Replay().on(TestBackends.named(backend)), RACES, null)
              .check(found.read(), Progress.OFF);

      assertThat(result.difference()).isEmpty();
      assertThat(result.violations()).isEmpty();
    }
  }

  @Test
  void boundaryOfTheKernel_losesAWriteFromTheDirtyLog() throws RecordingException {
    List<OpOutcome> outcomes = new Replay().replay(boundary(), Progress.OFF);

    assertThat(outcomes.get(GET).dirtyRanges().orElseThrow())
        .containsExactly(new long[] {0, 960}, new long[] {1009, 1039});
  }

  @Test
  void boundaryByContainingPage_reportsTheWrite_andDiffersWhereItProtectsTheSecondLeaf()
      throws RecordingException {
    Recording recording = boundary();

    List<OpOutcome> outcomes =
        new Replay().judging(DirtyLogBoundary.CONTAINING_PAGE).replay(recording, Progress.OFF);

    assertThat(outcomes.get(GET).dirtyRanges().orElseThrow())
        .containsExactly(new long[] {0, 960}, new long[] {LOST_PAGE, 1040});
    Difference difference = Comparison.firstDifference(recording, outcomes).orElseThrow();
    assertThat(difference.op()).isEqualTo(CLEAR);
    assertThat(difference.recorded()).isEqualTo("flush_remote_tlbs");
    assertThat(difference.emulated())
        .contains("gfn 40400 level 2 old_spte 117600ee7 new_spte 117600ae5");
  }

  private static Recording boundary() throws RecordingException {
    return RealRecordings.read(BOUNDARY);
  }
}
