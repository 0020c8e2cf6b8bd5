package dev.septum.lab.verify;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import dev.septum.kit.RuleResult;
import dev.septum.kit.RuleResult.Verdict;

/**
 * How a backend did by the rules of {@code docs/spec.md}.
 *
 * @param origin where the backend came from
 * @param claims the capabilities that it claims
 * @param expected the rules that it is known to break
 */
public record VerifyReport(
    String backend,
    String description,
    String origin,
    ImmutableList<String> claims,
    ImmutableList<String> expected,
    ImmutableList<RuleResult> rules) {

  /** The rules with that verdict. */
  public ImmutableSet<String> with(Verdict verdict) {
    return rules.stream()
        .filter(rule -> rule.verdict() == verdict)
        .map(RuleResult::rule)
        .collect(ImmutableSet.toImmutableSet());
  }

  /** Whether the backend breaks the rules that it is known to break, and no other. */
  @JsonProperty("held")
  public boolean held() {
    return with(Verdict.FAILED).equals(ImmutableSet.copyOf(expected))
        && with(Verdict.NOT_JUDGED).isEmpty();
  }
}
