package dev.septum.lab.sweep;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.TraceSink;
import dev.septum.lab.Progress;
import dev.septum.lab.TestBackends;
import dev.septum.lab.run.RunReport;
import dev.septum.lab.run.ScenarioRun;
import dev.septum.lab.scenario.ScenarioFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The flows that septum sweep runs when it is given none. */
class BundledFlowsTest {

  private static final Path SCENARIOS = Path.of("scenarios");

  static List<String> flows() throws Exception {
    return Files.readAllLines(SCENARIOS.resolve("sweep.list"));
  }

  private static ScenarioFile read(String name) throws Exception {
    return TestBackends.read(SCENARIOS.resolve(name));
  }

  @Test
  void everyFlowOfTheDirectory_isListed() throws Exception {
    List<String> inDirectory = new ArrayList<>();
    try (Stream<Path> files = Files.list(SCENARIOS.resolve("sweep"))) {
      files.forEach(file -> inDirectory.add("sweep/" + file.getFileName()));
    }
    assertThat(flows()).containsAll(inDirectory).doesNotHaveDuplicates().hasSizeGreaterThan(10);
  }

  @ParameterizedTest
  @MethodSource("flows")
  void undisturbed_everyFlowHoldsOnBothDesigns(String name) throws Exception {
    for (KvmBackend backend : List.of(TestBackends.SOUND, TestBackends.POSTED_V3)) {
      RunReport report = ScenarioRun.run(read(name), backend, TraceSink.OFF);
      assertThat(report.allFindings()).as(backend.name()).isEmpty();
    }
  }

  @ParameterizedTest
  @MethodSource("flows")
  void disturbedAnywhere_theSoundDesignIsClean(String name) throws Exception {
    SweepReport report =
        new Sweep(TestBackends.SOUND, 60, 1, Progress.OFF).run(List.of(read(name)));

    assertThat(report.flows().get(0).findings()).isEmpty();
    assertThat(report.flows().get(0).singles()).isGreaterThan(15);
  }

  @ParameterizedTest
  @MethodSource("flows")
  void disturbedAnywhere_theReferenceIsClean_andItsPointsAreAllocations(String name)
      throws Exception {
    SweepReport report =
        new Sweep(TestBackends.REFERENCE, 60, 1, Progress.OFF).run(List.of(read(name)));

    assertThat(report.backend()).isEqualTo("reference");
    assertThat(report.flows().get(0).findings()).isEmpty();
    assertThat(report.flows().get(0).singles()).isPositive();
    assertThat(report.flows().get(0).rows()).extracting(SweepReport.Row::mode).containsOnly("fail");
  }

  @ParameterizedTest
  @MethodSource("flows")
  void disturbedAnywhere_thePostedDesignIsNot(String name) throws Exception {
    SweepReport report =
        new Sweep(TestBackends.POSTED_V3, 0, 1, Progress.OFF).run(List.of(read(name)));

    assertThat(report.flows().get(0).findings()).isNotEmpty();
  }
}
