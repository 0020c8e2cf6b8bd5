package dev.septum.kit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.septum.kvm.KvmBackend;
import dev.septum.kvm.KvmBackends;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class OwnBackendsTest {
  @ParameterizedTest
  @ValueSource(strings = {"reference", "none", "tdx", "tdx-v3"})
  void show(String name) {
    KvmBackend backend = KvmBackends.onClassPath().named(name);
    long start = System.nanoTime();
    List<RuleResult> results = KitRun.of(new Subject(backend));
    for (RuleResult result : results) {
      String reason = result.reason().lines().limit(6).reduce("", (a, b) -> a + "\n      " + b);
      System.out.println(
          name + " " + result.rule() + " " + result.verdict() + " " + result.test() + reason);
    }
    System.out.println(name + " took " + (System.nanoTime() - start) / 1_000_000 + " ms");
    assertThat(results).isNotEmpty();
  }
}
