package dev.septum.it;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.base.CharMatcher;
import com.google.common.base.Splitter;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;

/** docs/split-scenarios.md names a test of each design for every scenario and trace. */
final class ScenarioDocsTest {

  private static final Path DOC = Path.of("..", "docs", "split-scenarios.md");
  private static final Splitter CELLS = Splitter.on('|').trimResults();

  /** A trace of RFC v5, which is modelled by neither design. */
  private static final String NOT_MODELLED = "T18";

  private static List<String> lines = List.of();

  @BeforeAll
  static void read() throws IOException {
    lines = Files.readAllLines(DOC);
  }

  @Test
  void everyScenarioAndTrace_hasARowWithATestOfEachDesign() {
    assertThat(rows("## Scenarios").keySet()).containsExactlyElementsOf(ids("S", 21));
    assertThat(rows("## Traces").keySet()).containsExactlyElementsOf(ids("T", 19));
    Stream.of("## Scenarios", "## Traces", "## Beyond the list")
        .flatMap(heading -> rows(heading).values().stream())
        .forEach(cells -> assertThat(cells).noneMatch(String::isEmpty));
  }

  private static List<String> ids(String letter, int last) {
    return IntStream.rangeClosed(1, last)
        .mapToObj(i -> letter + i)
        .filter(id -> !id.equals(NOT_MODELLED))
        .toList();
  }

  @Test
  void everyCell_namesATestThatClaimsItsId() {
    for (String heading : List.of("## Scenarios", "## Traces")) {
      rows(heading)
          .forEach(
              (id, cells) -> {
                assertThat(cells).as(id).hasSize(4);
                assertThat(testsIn(cells.get(2))).as(id).anyMatch(test -> claims(test, id));
                assertThat(testsIn(cells.get(3))).as(id).anyMatch(test -> claims(test, id));
              });
    }
  }

  /** {@code s17a} and {@code s17b} are parts of S17. */
  private static boolean claims(String test, String id) {
    String name = test.substring(test.indexOf('#') + 1);
    return Splitter.on('_')
        .splitToStream(name)
        .anyMatch(part -> part.matches(id.toLowerCase(Locale.ROOT) + "[ab]?"));
  }

  @Test
  void everyTestThatIsNamed_exists_andRunsOnThatDesign() throws ClassNotFoundException {
    List<String> sound = new ArrayList<>();
    List<String> posted = new ArrayList<>();
    for (String heading : List.of("## Scenarios", "## Traces", "## Beyond the list")) {
      for (List<String> cells : rows(heading).values()) {
        sound.addAll(testsIn(cells.get(cells.size() - 2)));
        posted.addAll(testsIn(cells.get(cells.size() - 1)));
      }
    }
    assertThat(sound).hasSizeGreaterThan(60);
    assertThat(posted).hasSizeGreaterThan(60);
    for (String test : sound) {
      assertThat(classOf(test)).as(test).matches(type -> isOfBoth(type) || !isPosted(type));
      assertIsTest(test);
    }
    for (String test : posted) {
      assertThat(classOf(test)).as(test).matches(type -> isOfBoth(type) || isPosted(type));
      assertIsTest(test);
    }
  }

  private static boolean isOfBoth(Class<?> type) {
    return type.isAnnotationPresent(EachDesign.class);
  }

  private static boolean isPosted(Class<?> type) {
    return type.getSimpleName().startsWith("Posted");
  }

  private static Class<?> classOf(String test) throws ClassNotFoundException {
    return Class.forName("dev.septum.it." + test.substring(0, test.indexOf('#')));
  }

  private static void assertIsTest(String test) throws ClassNotFoundException {
    String name = test.substring(test.indexOf('#') + 1);
    assertThat(Stream.of(classOf(test).getDeclaredMethods()).filter(ScenarioDocsTest::isTest))
        .extracting(Method::getName)
        .as(test)
        .contains(name);
  }

  private static boolean isTest(Method method) {
    return method.isAnnotationPresent(Test.class)
        || method.isAnnotationPresent(ParameterizedTest.class);
  }

  /** The rows of the table below a heading, by their first cell, in their order. */
  private static Map<String, List<String>> rows(String heading) {
    int first = lines.indexOf(heading) + 1;
    assertThat(first).as(heading).isPositive();
    Map<String, List<String>> rows = new LinkedHashMap<>();
    lines.subList(first, lines.size()).stream()
        .takeWhile(line -> !line.startsWith("## "))
        .filter(line -> line.startsWith("|") && !line.startsWith("|--"))
        .skip(1)
        .map(line -> CELLS.splitToList(CharMatcher.is('|').trimFrom(line)))
        .forEach(cells -> rows.put(cells.get(0), cells));
    assertThat(rows).as(heading).isNotEmpty();
    return rows;
  }

  /** {@code `Test#method`, `#another`}: a name without a class is in the class named before. */
  private static List<String> testsIn(String cell) {
    List<String> tests = new ArrayList<>();
    String testClass = "";
    for (String name : Splitter.on(',').trimResults(CharMatcher.anyOf("` ")).split(cell)) {
      int hash = name.indexOf('#');
      assertThat(hash).as("# in %s", name).isNotNegative();
      testClass = hash > 0 ? name.substring(0, hash) : testClass;
      tests.add(testClass + name.substring(hash));
    }
    return tests;
  }
}
