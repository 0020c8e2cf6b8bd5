package dev.septum.kit;

/**
 * How a backend did by one rule.
 *
 * @param rule its number in {@code docs/spec.md}
 * @param test the test's name, which says what the rule asks for
 * @param reason why it was skipped or what was wrong; if it passed, how far races were explored
 */
public record RuleResult(String rule, String test, Verdict verdict, String reason) {

  /** What became of a rule. */
  public enum Verdict {
    /** The backend keeps it. */
    PASSED,
    /** The backend breaks it. */
    FAILED,
    /** The backend does not claim what it is about. */
    SKIPPED,
    /** It cannot be judged, since another rule is broken. */
    NOT_JUDGED
  }
}
