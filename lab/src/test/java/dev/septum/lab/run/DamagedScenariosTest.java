package dev.septum.lab.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import dev.septum.lab.TestBackends;
import dev.septum.lab.bootlog.LogDamage;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Examples that were damaged, or that say something else: a run that ends, or one error. */
class DamagedScenariosTest {

  private static final int ROUNDS = 60;
  private static final Duration LONGEST_RUN = Duration.ofMinutes(2);

  /** No unit of memory is among it: what is large takes long. */
  private static final LogDamage DAMAGE = new LogDamage("0123456789abcdefx-[]{} :,&*'\"#\u0000", 3);

  private static final Pattern WORD = Pattern.compile("[A-Za-z0-9_-]+");

  static List<Path> examples() throws IOException {
    return Examples.all();
  }

  @ParameterizedTest
  @MethodSource("examples")
  void damagedExample_runsOrIsOneError(Path example) throws Exception {
    List<String> lines = Files.readAllLines(example);
    int refused = 0;
    for (int seed = 0; seed < ROUNDS; seed++) {
      refused += isRun(DAMAGE.of(lines, new Random(seed))) ? 0 : 1;
    }
    assertThat(refused).isPositive();
  }

  /** Words and numbers in the places of others make scenarios that nobody would write. */
  @ParameterizedTest
  @MethodSource("examples")
  void exampleWithWordsExchanged_runsOrIsOneError(Path example) throws Exception {
    String text = Files.readString(example);
    int start = text.indexOf("\nvms:");
    int ran = 0;
    for (int seed = 0; seed < ROUNDS; seed++) {
      Random random = new Random(seed);
      String other = withWordsExchanged(text, start, random);
      ran += isRun(random.nextBoolean() ? other : withWordsExchanged(other, start, random)) ? 1 : 0;
    }
    assertThat(ran).isPositive();
  }

  /** Puts one word in the place of another of its kind, behind {@code start}. */
  private static String withWordsExchanged(String text, int start, Random random) {
    List<MatchResult> words = WORD.matcher(text).region(start, text.length()).results().toList();
    MatchResult place = words.get(random.nextInt(words.size()));
    List<MatchResult> alike =
        words.stream().filter(word -> isNumber(word) == isNumber(place)).toList();
    String word = alike.get(random.nextInt(alike.size())).group();
    return text.substring(0, place.start()) + word + text.substring(place.end());
  }

  private static boolean isNumber(MatchResult word) {
    return Character.isDigit(word.group().charAt(0));
  }

  private static boolean isRun(String text) {
    try {
      ScenarioFile file = TestBackends.read("s.yaml", text);
      RunReport report =
          assertTimeoutPreemptively(
              LONGEST_RUN,
              () -> Examples.run(file, file.defaultBackend()),
              () -> "took too long:\n" + text);
      assertThat(RunText.of(report)).startsWith("scenario  ");
      return true;
    } catch (ScenarioException e) {
      assertThat(e).hasMessageStartingWith("s.yaml");
      assertThat(e.getMessage()).as(text).doesNotContain("\n").doesNotContain("dev.septum");
      return false;
    } catch (RuntimeException | AssertionError e) {
      throw new AssertionError("of this scenario:\n" + text, e);
    }
  }
}
