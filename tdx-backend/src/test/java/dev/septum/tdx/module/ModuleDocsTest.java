package dev.septum.tdx.module;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.base.CharMatcher;
import com.google.common.base.Splitter;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** docs/tdx-module.md says what there is: functions, invariants, and the tests of both. */
final class ModuleDocsTest {

  private static final Path DOC = Path.of("..", "docs", "tdx-module.md");
  private static final Splitter CELLS = Splitter.on('|').trimResults();
  private static final int FUNCTION_COLUMNS = 5;

  private static List<String> lines = List.of();

  @BeforeAll
  static void read() throws IOException {
    lines = Files.readAllLines(DOC);
  }

  @Test
  void everyFunction_hasARowWithoutEmptyCells() {
    Map<String, List<String>> rows = rows("## Functions");
    List<String> functions =
        Stream.concat(
                Stream.of(SeamcallLeaf.values()).map(ModuleDocsTest::nameOf),
                Stream.of(GuestInstruction.class.getPermittedSubclasses())
                    .map(Class::getSimpleName))
            .map(name -> "`" + name + "`")
            .toList();
    assertThat(rows.keySet()).containsExactlyInAnyOrderElementsOf(functions);
    assertThat(rows.values())
        .allSatisfy(
            cells -> assertThat(cells).hasSize(FUNCTION_COLUMNS).noneMatch(String::isEmpty));
  }

  @Test
  void everyInvariant_hasARow() {
    Map<String, List<String>> rows = rows("## Invariants");
    assertThat(rows.keySet())
        .containsExactlyInAnyOrderElementsOf(
            IntStream.rangeClosed(1, 22).mapToObj(i -> "I" + i).toList());
    assertThat(rows.values()).allSatisfy(cells -> assertThat(cells).noneMatch(String::isEmpty));
  }

  @Test
  void everyVersion_hasARow() {
    assertThat(rows("## Versions").keySet())
        .containsExactlyInAnyOrderElementsOf(
            Stream.of(ModuleVersion.values()).map(ModuleVersion::label).toList());
  }

  @Test
  void everyTestThatIsNamed_exists() {
    List<String> named = new ArrayList<>();
    rows("## Functions").values().forEach(cells -> named.addAll(testsIn(cells.get(4))));
    rows("## Invariants").values().forEach(cells -> named.addAll(testsIn(cells.get(2))));
    rows("## Versions").values().forEach(cells -> named.addAll(testsIn(cells.get(2))));
    assertThat(named).hasSizeGreaterThan(80).allSatisfy(ModuleDocsTest::assertExists);
  }

  @Test
  void example_isTheTestThatRuns() throws IOException {
    String source =
        Files.readString(Path.of("src/test/java/dev/septum/tdx/module/ModuleExampleTest.java"));
    assertThat(source).contains(fenced());
    assertThat(fenced().lines().count()).isLessThan(40);
  }

  private static String fenced() {
    int first = lines.indexOf("```java") + 1;
    int end = lines.subList(first, lines.size()).indexOf("```") + first;
    return String.join("\n", lines.subList(first, end));
  }

  private static String nameOf(SeamcallLeaf leaf) {
    return leaf.kernelName();
  }

  /** The rows of the table below a heading, by their first cell. */
  private static Map<String, List<String>> rows(String heading) {
    int first = lines.indexOf(heading) + 1;
    assertThat(first).as(heading).isPositive();
    return lines.subList(first, lines.size()).stream()
        .takeWhile(line -> !line.startsWith("## "))
        .filter(line -> line.startsWith("|") && !line.startsWith("|--"))
        .skip(1)
        .map(line -> CELLS.splitToList(CharMatcher.is('|').trimFrom(line)))
        .collect(
            Collectors.toMap(cells -> cells.get(0), cells -> cells, (a, b) -> b, TreeMap::new));
  }

  /** {@code `Test#method`, `#another`}: a name without a class is in the class named before. */
  private static List<String> testsIn(String cell) {
    List<String> tests = new ArrayList<>();
    String testClass = "";
    for (String name : Splitter.on(',').trimResults(CharMatcher.anyOf("` ")).split(cell)) {
      int hash = name.indexOf('#');
      testClass = hash > 0 ? name.substring(0, hash) : testClass;
      tests.add(testClass + name.substring(hash));
    }
    return tests;
  }

  private static void assertExists(String test) throws ClassNotFoundException {
    List<String> parts = Splitter.on('#').splitToList(test);
    Class<?> testClass = Class.forName("dev.septum.tdx.module." + parts.get(0));
    assertThat(Stream.of(testClass.getDeclaredMethods()).map(Method::getName))
        .as(test)
        .contains(parts.get(1));
  }
}
