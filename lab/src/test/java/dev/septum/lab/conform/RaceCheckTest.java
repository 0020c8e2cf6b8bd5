package dev.septum.lab.conform;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class RaceCheckTest {

  static List<Recordings.Found> recordings() throws RecordingException {
    return RealRecordings.all();
  }

  @ParameterizedTest
  @MethodSource("recordings")
  void everythingThatWasRecorded_isAllowed(Recordings.Found found) throws RecordingException {
    Recording recording = found.read();
    long t = System.nanoTime();
    assertThat(RaceCheck.violations(recording, 0, recording.outcomes())).isEmpty();
    System.out.println("TIME " + found.name() + " " + (System.nanoTime() - t) / 1000000);
  }
}
