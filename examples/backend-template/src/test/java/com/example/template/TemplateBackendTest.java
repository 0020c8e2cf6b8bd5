package com.example.template;

import static dev.septum.kit.RuleResult.Verdict.*;
import dev.septum.kit.*;
import java.util.stream.Stream;
import org.junit.jupiter.api.*;

class TemplateBackendTest {
  @TestFactory Stream<DynamicTest> rules() {
    return KitRun.of(new Subject(new TemplateBackend())).stream().map(
        rule -> DynamicTest.dynamicTest(rule.rule() + " " + rule.test(), () -> {
          // A rule that cannot be judged names the broken one, which fails.
          Assumptions.assumeTrue(rule.verdict() == PASSED || rule.verdict() == FAILED, rule::reason);
          Assertions.assertEquals(PASSED, rule.verdict(), rule::toString);
        }));
  }
}
