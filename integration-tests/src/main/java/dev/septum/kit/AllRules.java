package dev.septum.kit;

import dev.septum.kit.RuleResult.Verdict;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.opentest4j.TestAbortedException;

/**
 * The whole kit in one class, for who needs no class for each part: a test for each rule, in the
 * order of {@code docs/spec.md}. A rule that is skipped or cannot be judged is an aborted test with
 * its reason.
 */
public abstract class AllRules {

  /** For authors of backends. */
  protected AllRules() {}

  /** What is judged. */
  protected abstract Subject subject();

  @TestFactory
  final Stream<DynamicTest> rules() {
    return KitRun.of(subject()).stream()
        .map(
            result ->
                DynamicTest.dynamicTest(
                    result.rule() + " " + result.test(), () -> throwUnlessPassed(result)));
  }

  private static void throwUnlessPassed(RuleResult result) {
    String text = "%s %s: %s".formatted(result.rule(), result.test(), result.reason());
    if (result.verdict() == Verdict.FAILED) {
      throw new AssertionError(text);
    }
    if (result.verdict() != Verdict.PASSED) {
      throw new TestAbortedException(text);
    }
  }
}
