package dev.septum.lab.explore;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import dev.septum.kernel.schedule.Carrier;
import dev.septum.kernel.schedule.ExplorationWatcher;
import dev.septum.lab.TestBackends;
import dev.septum.lab.run.Examples;
import dev.septum.lab.scenario.ScenarioFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The scenarios that come with Septum to be explored, and every outcome that they may have. */
class BundledExplorationsTest {

  private static final Path DIRECTORY = Examples.DIRECTORY.resolve("explore");
  private static final String SPLIT = "private 0x200000..0x600000 4K mapped";
  private static final String PENDING = "private 0x200000..0x400000 2M pending";

  /** For each scenario, what its schedules may come to; all of it is reached. */
  private static final Map<String, Set<String>> OUTCOMES =
      ImmutableMap.of(
          "split_cache.yaml",
          ImmutableSet.of("split-a: OK; split-b: OK; topup: OK; " + SPLIT),
          "two_faults.yaml",
          ImmutableSet.of("a: OK; b: OK; " + PENDING),
          "two_holes.yaml",
          ImmutableSet.of("a: OK; b: OK; private 0x201000..0x3ff000 4K pending"),
          "attributes_against_fault.yaml",
          ImmutableSet.of(
              "guest: OK; vmm: OK",
              "guest: OK; vmm: OK; shared 0x200000..0x201000 4K",
              "guest: EFAULT; vmm: OK"),
          "accept_against_conversion.yaml",
          ImmutableSet.of(
              "guest: OK; vmm: OK; private 0x200000..0x201000 4K mapped,"
                  + " 0x201000..0x3ff000 4K pending"),
          "dirty_logging_against_write.yaml",
          ImmutableSet.of("guest: OK; vmm: OK; mapped 0x0..0x200000 4K"));

  @TempDir private Path directory;

  static Stream<String> names() {
    return OUTCOMES.keySet().stream();
  }

  private ExploreReport explore(String name, String backend, long most) throws Exception {
    return explore(name, backend, Search.Kind.EXHAUSTIVE, 0, most);
  }

  private ExploreReport explore(String name, String backend, Search.Kind kind, int bound, long most)
      throws Exception {
    ScenarioFile file = TestBackends.read(DIRECTORY.resolve(name));
    Search search = new Search(kind, bound, 0, most, new Search.Bounds(0, 20_000, true), false);
    return new Explorer(file, TestBackends.named(backend), search, Carrier.best(), directory, false)
        .run(2, ExplorationWatcher.NONE);
  }

  @Test
  void theList_hasEveryFile_andEveryFileIsInTheList() throws IOException {
    List<String> listed =
        Files.readAllLines(Examples.DIRECTORY.resolve("explore.list")).stream()
            .map(line -> line.replace("explore/", ""))
            .toList();
    try (Stream<Path> files = Files.list(DIRECTORY)) {
      assertThat(files.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrderElementsOf(listed)
          .containsExactlyInAnyOrderElementsOf(OUTCOMES.keySet());
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void theFirstSchedules_comeToWhatIsAllowed(String name) throws Exception {
    for (String backend : TestBackends.read(DIRECTORY.resolve(name)).backends()) {
      ExploreReport report = explore(name, backend, 40);
      assertThat(report.findings()).as(backend).isEmpty();
      assertThat(OUTCOMES.get(name)).as(backend).containsAll(texts(report));
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void theFirstSchedules_onTheReference_findNothing(String name) throws Exception {
    ExploreReport report = explore(name, "reference", 40);
    assertThat(report.findings()).isEmpty();
    assertThat(report.backend()).isEqualTo("reference");
    assertThat(texts(report)).isNotEmpty().noneMatch(text -> text.contains("pending"));
  }

  /** All of them, or all with one preemption, and how many schedules that is. */
  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "two_faults.yaml, EXHAUSTIVE, 2178",
    "two_holes.yaml, EXHAUSTIVE, 2",
    "attributes_against_fault.yaml, EXHAUSTIVE, 8904",
    "dirty_logging_against_write.yaml, EXHAUSTIVE, 17",
    "split_cache.yaml, BOUNDED, 5140",
    "accept_against_conversion.yaml, BOUNDED, 1575"
  })
  void allSchedules_comeToAllThatIsAllowed(String name, Search.Kind kind, long schedules)
      throws Exception {
    int bound = kind == Search.Kind.BOUNDED ? 1 : 0;
    ExploreReport report = explore(name, TestBackends.SOUND.name(), kind, bound, 200_000);
    assertThat(report.findings()).isEmpty();
    assertThat(report.complete()).isTrue();
    assertThat(report.schedules()).isEqualTo(schedules);
    assertThat(texts(report)).isEqualTo(OUTCOMES.get(name));
  }

  private static Set<String> texts(ExploreReport report) {
    return report.outcomes().stream().map(ExploreReport.Outcome::text).collect(Collectors.toSet());
  }
}
