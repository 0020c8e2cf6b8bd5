package dev.septum.kit;

import static com.google.common.collect.ImmutableSortedMap.toImmutableSortedMap;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedMap;
import com.google.common.collect.Sets;
import dev.septum.kit.RuleResult.Verdict;
import dev.septum.kvm.Capability;
import dev.septum.kvm.Host;
import dev.septum.kvm.KvmBackends;
import dev.septum.tdx.TdBackend;
import dev.septum.tdx.module.TdxModuleConfig;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The kit on the backends of this project: what they do not claim, and what tdx-v3 breaks. */
class OwnBackendsTest {

  /** What is left when the rules that a backend keeps are taken away. */
  private record Case(String name, Subject subject, Map<Verdict, List<String>> rest) {
    @Override
    public String toString() {
      return name;
    }
  }

  /** A TD on a host whose module lacks something, and with it a capability. */
  private static final class OlderHost extends Subject {
    private final Capability missing;
    private final UnaryOperator<TdxModuleConfig> change;

    OlderHost(Capability missing, UnaryOperator<TdxModuleConfig> change) {
      super(KvmBackends.onClassPath().named("tdx"));
      this.missing = missing;
      this.change = change;
    }

    @Override
    public Set<Capability> capabilities() {
      return Sets.difference(super.capabilities(), Set.of(missing)).immutableCopy();
    }

    @Override
    public KitVm newVm(Host host) {
      TdxModuleConfig config = TdxModuleConfig.defaults().withNonBlockingResize(true);
      return new TdKitVm((TdBackend) backend(), host, change.apply(config));
    }
  }

  private static Subject own(String name) {
    return new Subject(KvmBackends.onClassPath().named(name));
  }

  private static final List<String> CACHE =
      List.of(
          "CACHE.1",
          "CACHE.2",
          "CACHE.3",
          "CACHE.4",
          "CACHE.5",
          "CACHE.6",
          "CACHE.7",
          "CACHE.8",
          "CACHE.9",
          "CACHE.10",
          "CACHE.11",
          "CACHE.12",
          "CACHE.13");

  private static final List<String> SPLIT =
      List.of("SPLIT.1", "SPLIT.2", "SPLIT.3", "SPLIT.4", "SPLIT.5", "SPLIT.6", "SPLIT.7");

  private static List<String> rules(List<String> first, List<String> then, List<String> last) {
    return ImmutableList.<String>builder().addAll(first).addAll(then).addAll(last).build();
  }

  static List<Case> cases() {
    return ImmutableList.of(
        new Case(
            "reference",
            own("reference"),
            Map.of(
                Verdict.SKIPPED,
                rules(List.of("CAP.3", "CAP.5", "CAP.7"), CACHE, List.of("KVM.8")))),
        new Case(
            "none",
            own("none"),
            Map.of(
                Verdict.SKIPPED,
                KitRun.rules().stream()
                    .filter(rule -> !rule.startsWith("CALL."))
                    .filter(rule -> !Set.of("CAP.7", "CAP.8", "END.1").contains(rule))
                    .toList())),
        new Case(
            "tdx",
            own("tdx"),
            Map.of(Verdict.SKIPPED, List.of("CAP.3", "CAP.5", "CAP.6", "CAP.7"))),
        new Case(
            "tdx on a module without NON_BLOCKING_RESIZE",
            new OlderHost(Capability.SHARED_SPLIT, config -> config.withNonBlockingResize(false)),
            Map.of(
                Verdict.SKIPPED, List.of("CAP.3", "CAP.4", "CAP.6", "CAP.7", "CACHE.8", "RACE.3"))),
        new Case(
            "tdx without Dynamic PAMT",
            new OlderHost(Capability.SPLIT_CACHE, config -> config.withDynamicPamt(false)),
            Map.of(
                Verdict.SKIPPED,
                rules(List.of("CAP.3", "CAP.5", "CAP.7"), CACHE, List.of("KVM.8")))),
        new Case(
            "tdx on a module without enhanced demote interruptibility",
            new OlderHost(
                Capability.HUGE_LEAFS, config -> config.withEnhancedDemoteInterruptibility(false)),
            Map.of(
                Verdict.SKIPPED,
                rules(
                    List.of(
                        "CAP.2", "CAP.4", "CAP.5", "CAP.6", "CAP.7", "CACHE.7", "CACHE.8",
                        "CACHE.9"),
                    SPLIT,
                    List.of("RACE.3", "KVM.4", "KVM.5", "KVM.6", "KVM.7")))),
        // D2 and D3 lose pages, D1 and D4 the error, D5 the leaf; D9 never asks again.
        new Case(
            "tdx-v3",
            own("tdx-v3"),
            Map.of(
                Verdict.SKIPPED,
                List.of("CAP.3", "CAP.4", "CAP.6", "CAP.7", "CACHE.8", "RACE.3"),
                Verdict.FAILED,
                List.of("CACHE.9", "SPLIT.5", "SPLIT.6", "KVM.2", "KVM.5", "KVM.6", "KVM.7"))));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void aBackend_keepsEveryRuleThatIsNotListed(Case judged) {
    ImmutableList<RuleResult> results = KitRun.of(judged.subject());
    assertThat(results).extracting(RuleResult::rule).containsExactlyElementsOf(KitRun.rules());
    assertThat(rest(results)).as("%s", results).isEqualTo(ImmutableSortedMap.copyOf(judged.rest()));
  }

  private static ImmutableSortedMap<Verdict, List<String>> rest(List<RuleResult> results) {
    return List.of(Verdict.values()).stream()
        .filter(verdict -> verdict != Verdict.PASSED)
        .filter(verdict -> results.stream().anyMatch(result -> result.verdict() == verdict))
        .collect(
            toImmutableSortedMap(
                Verdict::compareTo,
                verdict -> verdict,
                verdict ->
                    results.stream()
                        .filter(result -> result.verdict() == verdict)
                        .map(RuleResult::rule)
                        .toList()));
  }
}
