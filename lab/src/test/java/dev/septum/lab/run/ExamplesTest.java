package dev.septum.lab.run;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.lab.TestBackends;
import dev.septum.lab.scenario.Phase;
import dev.septum.lab.scenario.Scenario;
import dev.septum.lab.scenario.ScenarioFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The scenarios in lab/scenarios hold on every backend that they name. */
class ExamplesTest {

  static List<Arguments> examplesAndBackends() throws Exception {
    List<Arguments> all = new ArrayList<>();
    for (Path example : Examples.all()) {
      for (String backend : TestBackends.read(example).backends()) {
        all.add(Arguments.of(example.getFileName().toString(), backend));
      }
    }
    return all;
  }

  static List<Path> examples() throws IOException {
    return Examples.all();
  }

  @ParameterizedTest(name = "{0} on {1}")
  @MethodSource("examplesAndBackends")
  void example_holds(String name, String backend) throws Exception {
    RunReport report = Examples.run(TestBackends.read(Examples.DIRECTORY.resolve(name)), backend);
    assertThat(Examples.findings(report)).isEmpty();
    assertThat(report.held()).isTrue();
    assertThat(report.backend()).isEqualTo(backend);
  }

  @Test
  void examples_areFound() throws Exception {
    assertThat(Examples.all())
        .extracting(example -> example.getFileName().toString())
        .containsExactly(
            "accept_split.yaml",
            "any_backend.yaml",
            "attributes_split.yaml",
            "busy_twice.yaml",
            "cache_drained.yaml",
            "convert_file_split.yaml",
            "dirty_log_page_splitting.yaml",
            "file_of_two_vms.yaml",
            "guest_memfd.yaml",
            "memslot_deletion.yaml",
            "nx_huge_pages.yaml",
            "pre_fault_memory.yaml",
            "private_mem_conversions.yaml",
            "private_mem_kvm_exits.yaml",
            "punch_hole_split.yaml",
            "split_without_memory.yaml",
            "two_tds.yaml");
  }

  /** A scenario that expects little shows little. */
  @ParameterizedTest
  @MethodSource("examples")
  void example_saysWhereItIsFrom_andExpectsSomething(Path example) throws Exception {
    ScenarioFile file = TestBackends.read(example);
    Scenario scenario = file.scenario();
    assertThat(scenario.about()).isNotBlank();
    List<Phase> phases = scenario.phases();
    assertThat(phases).anyMatch(phase -> !phase.expect().isEmpty());
    assertThat(phases).allMatch(phase -> phase.name() != null);
  }
}
