package dev.septum.kit;

/**
 * A rule that cannot be judged since the backend broke another one in its test: a failure, but of
 * that other rule.
 */
final class BrokenElsewhere extends AssertionError {
  private static final long serialVersionUID = 1L;

  private final String rule;
  private final String why;

  BrokenElsewhere(String rule, String why) {
    super("%s is broken: %s".formatted(rule, why));
    this.rule = rule;
    this.why = why;
  }

  /** The rule that is broken. */
  String rule() {
    return rule;
  }

  /** What the backend did. */
  String why() {
    return why;
  }
}
