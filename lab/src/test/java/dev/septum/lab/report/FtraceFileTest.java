package dev.septum.lab.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class FtraceFileTest {

  /** Perfetto's systrace importer; it looks for a match. */
  private static final Pattern PERFETTO =
      Pattern.compile(
          "-(\\d+)\\s+\\(?\\s*(\\d+|-+)?\\)?\\s?\\[(\\d+)\\]\\s*"
              + "([a-zA-Z.]{3}[0-9a-f.]{1,2}\\s*)?(\\d+\\.\\d+):\\s+(\\S+):");

  /** Trace Compass' ftrace plug-in; it matches the whole line. */
  private static final Pattern TRACE_COMPASS =
      Pattern.compile(
          "^\\s*(?<comm>.*)-(?<pid>\\d+)(?:\\s+\\([^0-9]*(?<tgid>\\d+)?\\))?\\s+\\[(?<cpu>\\d+)\\]"
              + "(?:\\s+[^\\s]*)?\\s+(?<timestamp>[0-9]+(?<us>\\.[0-9]+)?): (?<name>\\w+)"
              + "(?<separator>:\\s+|\\(|\\s+->\\s+)(?<data>[^\\)]*)(\\))?");

  @TempDir Path dir;

  @Test
  void events_areLinesThatPerfettoAndTraceCompassRead() throws Exception {
    Path file = dir.resolve("trace.txt");
    write(file, 3);

    List<String> lines = Files.readAllLines(file);
    assertThat(lines.get(0)).isEqualTo("# tracer: nop");
    assertThat(lines.stream().filter(l -> !l.startsWith("#")))
        .hasSize(3)
        .allMatch(line -> PERFETTO.matcher(line).find())
        .allMatch(line -> TRACE_COMPASS.matcher(line).matches())
        .first()
        .isEqualTo(
            "          septum-1       [000] .....     0.000001: "
                + "kvm_mmu_split_huge_page: gfn 7be00 spte 86000080a5669b37 level 2 errno 0");
  }

  @Test
  void clock_goesOnAfterTheFirstSecond() throws Exception {
    Path file = dir.resolve("trace.txt");
    write(file, 1_000_002);

    List<String> lines = Files.readAllLines(file);
    assertThat(lines.get(lines.size() - 1)).contains(" .....     1.000002: ");
  }

  @Test
  void closedWithoutCommit_leavesTheOldTraceAndNothingElse() throws Exception {
    Path file = Files.writeString(dir.resolve("trace.txt"), "old");
    try (FtraceFile trace = FtraceFile.create(file)) {
      trace.event("kvm_exit", "vcpu 0");
    }

    assertThat(file).hasContent("old");
    assertThat(dir).isDirectoryContaining(p -> p.equals(file));
    try (var files = Files.list(dir)) {
      assertThat(files).containsExactly(file);
    }
  }

  @Test
  void commit_replacesTheOldTrace() throws Exception {
    Path file = Files.writeString(dir.resolve("trace.txt"), "old");
    write(file, 1);

    assertThat(file).content().startsWith("# tracer: nop\n").endsWith(" errno 0\n");
    try (var files = Files.list(dir)) {
      assertThat(files).containsExactly(file);
    }
  }

  @Test
  void commit_throughALink_keepsTheLink() throws Exception {
    Path file = Files.writeString(dir.resolve("real.txt"), "old");
    Path link = Files.createSymbolicLink(dir.resolve("link.txt"), file);
    write(link, 1);

    assertThat(link).isSymbolicLink();
    assertThat(file).content().startsWith("# tracer: nop\n");
  }

  @Test
  void device_isWrittenToAndStays() throws Exception {
    Path device = Path.of("/dev/null");
    write(device, 1);

    assertThat(Files.isRegularFile(device)).isFalse();
    assertThat(Files.exists(device)).isTrue();
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void fullDevice_isAnErrorAtCommitAndNotBefore() throws Exception {
    try (FtraceFile trace = FtraceFile.create(Path.of("/dev/full"))) {
      for (int i = 0; i < 1000; i++) {
        trace.event("kvm_exit", "vcpu 0");
      }
      assertThatThrownBy(trace::commit)
          .isInstanceOf(IOException.class)
          .hasMessageContaining("trace file /dev/full: No space left");
    }
  }

  @Test
  void targetsThatCannotBeWritten_areNamed() {
    assertThatThrownBy(() -> FtraceFile.create(dir))
        .hasMessage("trace file %s is a directory".formatted(dir));
    assertThatThrownBy(() -> FtraceFile.create(dir.resolve("no/trace.txt")))
        .hasMessage("trace file %s/no/trace.txt: no such directory".formatted(dir));
  }

  private static void write(Path file, int events) throws IOException {
    try (FtraceFile trace = FtraceFile.create(file)) {
      for (int i = 0; i < events; i++) {
        trace.event("kvm_mmu_split_huge_page", "gfn 7be00 spte 86000080a5669b37 level 2 errno 0");
      }
      trace.commit();
    }
  }
}
