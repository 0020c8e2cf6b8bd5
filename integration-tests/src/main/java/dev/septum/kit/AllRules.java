package dev.septum.kit;

import dev.septum.kit.RuleResult.Verdict;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.opentest4j.TestAbortedException;

/**
 * The whole kit in one class, for who needs no class for each part: a test for each rule, in the
 * order of {@code docs/spec.md}. A rule that is skipped is an aborted test with its reason; so is
 * one that cannot be judged, where another test fails for what is wrong.
 */
public abstract class AllRules {

  /** For authors of backends. */
  protected AllRules() {}

  /** What is judged. */
  protected abstract Subject subject();

  @TestFactory
  final Stream<DynamicTest> rules() {
    List<RuleResult> results = KitRun.of(subject());
    // What cannot be judged is no success: if nothing else fails, it does.
    boolean isExplained = results.stream().anyMatch(r -> r.verdict() == Verdict.FAILED);
    Set<Verdict> failures =
        isExplained ? EnumSet.of(Verdict.FAILED) : EnumSet.of(Verdict.FAILED, Verdict.NOT_JUDGED);
    return results.stream()
        .map(
            result ->
                DynamicTest.dynamicTest(
                    result.rule() + " " + result.test(),
                    () -> throwUnlessPassed(result, failures)));
  }

  private static void throwUnlessPassed(RuleResult result, Set<Verdict> failures) {
    String text = "%s %s: %s".formatted(result.rule(), result.test(), result.reason());
    if (failures.contains(result.verdict())) {
      throw new AssertionError(text);
    }
    if (result.verdict() != Verdict.PASSED) {
      throw new TestAbortedException(text);
    }
  }
}
