package dev.septum.lab.sweep;

import dev.septum.kvm.KvmBackend;
import dev.septum.lab.TestBackends;
import dev.septum.lab.scenario.ScenarioException;
import dev.septum.lab.scenario.ScenarioFile;

/** Small flows for tests: a TD with a 2M leaf, and steps that are to be disturbed. */
final class TestFlows {

  private static final String TD =
      """
      scenario: A TD with a 2M leaf
      host: {memory: 2G, placement: scattered}
      files: {ram: {size: 8M}}
      vms: {td: {slots: [{slot: 1, gpa: 0, size: 8M, file: ram}]}}
      phases:
        - steps:
            - {vcpu: 0, accept: 2M+2M}
        - name: flow
          steps:
      """;

  /** One page of the leaf becomes shared: a split and a zap. */
  static final String SHARE = "{set-attributes: 0x210000+4K, to: shared}";

  private TestFlows() {}

  static ScenarioFile file(String... steps) throws ScenarioException {
    StringBuilder text = new StringBuilder(TD);
    for (String step : steps) {
      text.append("      - ").append(step).append('\n');
    }
    return TestBackends.read("flow.yaml", text.toString());
  }

  static Flow flow(KvmBackend backend, String... steps) throws ScenarioException {
    return new Flow(file(steps), backend, 1);
  }
}
