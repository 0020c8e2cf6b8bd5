package dev.septum.kit;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import com.google.common.collect.ImmutableList;
import dev.septum.kit.RuleResult.Verdict;
import java.lang.reflect.Method;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.reporting.ReportEntry;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** Runs the kit on a backend, for programs. One run at a time. */
public final class KitRun {

  private static final List<Class<? extends BackendKit>> PARTS =
      ImmutableList.of(
          Calls.class,
          Capabilities.class,
          FaultCache.class,
          SplitCache.class,
          ExternalTable.class,
          Split.class,
          Failures.class,
          Races.class,
          Teardown.class,
          Kvm.class);

  /** What is judged now. */
  private static volatile @Nullable Subject current;

  private KitRun() {}

  private static Subject current() {
    Subject subject = current;
    if (subject == null) {
      throw new IllegalStateException("no run of the kit is going on");
    }
    return subject;
  }

  /** The numbers of all rules, in the order of the kit. */
  public static ImmutableList<String> rules() {
    return PARTS.stream()
        .map(Class::getSuperclass)
        .flatMap(part -> List.of(part.getDeclaredMethods()).stream())
        .map(method -> method.getAnnotation(Rule.class))
        .filter(rule -> rule != null)
        .map(Rule::value)
        .sorted(RuleOrder.INSTANCE)
        .collect(ImmutableList.toImmutableList());
  }

  /** Judges a backend by every rule. */
  public static ImmutableList<RuleResult> of(Subject subject) {
    return of(subject, rule -> true, result -> {});
  }

  /**
   * Judges a backend by some rules.
   *
   * @param rules which
   * @param listener is told of each result at once
   */
  public static ImmutableList<RuleResult> of(
      Subject subject, Predicate<String> rules, Consumer<RuleResult> listener) {
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(PARTS.stream().map(part -> selectClass(part)).toList())
            .filters(
                (PostDiscoveryFilter)
                    descriptor ->
                        FilterResult.includedIf(
                            ruleOf(descriptor.getSource()).map(rules::test).orElse(true)))
            .configurationParameter("junit.jupiter.execution.parallel.enabled", "false")
            .build();
    // Listeners of the test run around this one have nothing to do with it.
    LauncherConfig config =
        LauncherConfig.builder()
            .enableTestExecutionListenerAutoRegistration(false)
            .enableLauncherSessionListenerAutoRegistration(false)
            .build();
    Results results = new Results(listener);
    current = subject;
    try {
      LauncherFactory.create(config).execute(request, results);
    } finally {
      current = null;
    }
    return results.all();
  }

  private static Optional<String> ruleOf(Optional<TestSource> source) {
    return source
        .filter(MethodSource.class::isInstance)
        .map(method -> ((MethodSource) method).getJavaMethod())
        .map(method -> method.getAnnotation(Rule.class))
        .map(Rule::value);
  }

  private static final class Results implements TestExecutionListener {
    private final Queue<RuleResult> results = new ConcurrentLinkedQueue<>();
    private final Map<String, String> notes = new ConcurrentHashMap<>();
    private final Map<String, String> brokenElsewhere = new ConcurrentHashMap<>();
    private final Consumer<RuleResult> listener;

    Results(Consumer<RuleResult> listener) {
      this.listener = listener;
    }

    ImmutableList<RuleResult> all() {
      return results.stream()
          .map(this::withWhatOthersFound)
          .sorted((a, b) -> RuleOrder.INSTANCE.compare(a.rule(), b.rule()))
          .collect(ImmutableList.toImmutableList());
    }

    /** A rule that was broken in the test of another one is broken. */
    private RuleResult withWhatOthersFound(RuleResult result) {
      String found = brokenElsewhere.get(result.rule());
      return found == null || result.verdict() == Verdict.FAILED
          ? result
          : new RuleResult(result.rule(), result.test(), Verdict.FAILED, found);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult end) {
      ruleOf(test.getSource())
          .ifPresentOrElse(
              rule -> add(rule, test, end), () -> end.getThrowable().ifPresent(Results::cannotRun));
    }

    private static void cannotRun(Throwable cause) {
      throw new IllegalStateException("the kit cannot run: " + cause, cause);
    }

    @Override
    public void reportingEntryPublished(TestIdentifier test, ReportEntry entry) {
      notes.put(test.getUniqueId(), String.join(", ", entry.getKeyValuePairs().values()));
    }

    private void add(String rule, TestIdentifier test, TestExecutionResult end) {
      Throwable cause = end.getThrowable().orElse(null);
      String note = notes.getOrDefault(test.getUniqueId(), "");
      String reason = cause == null ? note : textOf(cause);
      if (cause instanceof BrokenElsewhere broken) {
        brokenElsewhere.putIfAbsent(
            broken.rule(), "in the test of %s: %s".formatted(rule, broken.why()));
        reason = broken.rule() + " is broken";
      }
      Method method = ((MethodSource) test.getSource().orElseThrow()).getJavaMethod();
      RuleResult result = new RuleResult(rule, method.getName(), verdict(end, cause), reason);
      results.add(result);
      listener.accept(result);
    }

    private static Verdict verdict(TestExecutionResult end, @Nullable Throwable cause) {
      return switch (end.getStatus()) {
        case SUCCESSFUL -> Verdict.PASSED;
        case ABORTED -> cause instanceof NotJudged ? Verdict.NOT_JUDGED : Verdict.SKIPPED;
        case FAILED -> cause instanceof BrokenElsewhere ? Verdict.NOT_JUDGED : Verdict.FAILED;
      };
    }

    private static String textOf(Throwable cause) {
      String message = cause.getMessage();
      String text = message == null ? cause.toString() : message;
      return text.replaceFirst("^Assumption failed: ", "");
    }
  }

  static final class Calls extends CallRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class Capabilities extends CapabilityRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class FaultCache extends FaultCacheRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class SplitCache extends SplitCacheRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class ExternalTable extends ExternalTableRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class Split extends SplitRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class Failures extends FailureRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class Races extends ConcurrencyRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class Teardown extends TeardownRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }

  static final class Kvm extends KvmRules {
    @Override
    protected Subject subject() {
      return current();
    }
  }
}
