package dev.septum.kit;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import dev.septum.kit.RuleResult.Verdict;
import dev.septum.kit.WrongBackends.Wrong;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The kit's alarms: each rule fails for a backend that breaks it, and for no other. */
class WrongBackendsTest {

  static List<Wrong> wrongBackends() {
    return WrongBackends.all();
  }

  @ParameterizedTest
  @MethodSource("wrongBackends")
  void aWrongBackend_failsItsRuleAndNoOther(Wrong wrong) {
    boolean onKvm = wrong.rule().startsWith("KVM.");
    ImmutableList<RuleResult> results =
        KitRun.of(wrong.subject(), rule -> rule.startsWith("KVM.") == onKvm, result -> {});
    List<RuleResult> failed =
        results.stream().filter(result -> result.verdict() == Verdict.FAILED).toList();
    assertThat(failed).as("%s", failed).extracting(RuleResult::rule).containsExactly(wrong.rule());
    assertThat(failed.get(0).reason()).contains(wrong.says());
  }

  @Test
  void everyRule_hasAWrongBackend() {
    assertThat(wrongBackends()).extracting(Wrong::rule).containsExactlyElementsOf(KitRun.rules());
  }

  @Test
  void theBackendThatIsAltered_isRight() {
    ImmutableList<RuleResult> results =
        KitRun.of(new RefusableSubject(AlteredBackend.caching(CachingOps::new)));
    assertThat(results)
        .filteredOn(result -> result.verdict() != Verdict.PASSED)
        .extracting(RuleResult::rule)
        .containsExactly("CAP.3", "CAP.5", "CAP.6", "CAP.7");
  }
}
