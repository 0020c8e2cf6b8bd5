package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class ComparisonTest {

  static List<Recordings.Found> recordings() throws RecordingException {
    return RealRecordings.all();
  }

  @ParameterizedTest
  @MethodSource("recordings")
  void echo_isEqual(Recordings.Found found) throws RecordingException {
    Recording recording = found.read();
    assertThat(Comparison.firstDifference(recording, recording.outcomes())).isEmpty();
  }
}
