package com.example.template;

import static dev.septum.kit.RuleResult.Verdict.*;
import dev.septum.kit.*;
import java.util.stream.Stream;
import org.junit.jupiter.api.*;

class TemplateBackendTest {
  @TestFactory Stream<DynamicTest> rules() {
    return KitRun.of(new Subject(new TemplateBackend())).stream().map(
        rule -> DynamicTest.dynamicTest(rule.rule() + " " + rule.test(), () -> {
          Assumptions.assumeFalse(rule.verdict() == SKIPPED, rule.reason());
          Assertions.assertEquals(PASSED, rule.verdict(), rule.reason());
        }));
  }
}
