package dev.septum.lab;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import dev.septum.kit.KitRun;
import dev.septum.kit.RuleResult;
import dev.septum.kit.Subject;
import dev.septum.kvm.KvmBackend;
import dev.septum.lab.backend.KnownBackends;
import dev.septum.lab.verify.VerifyReport;
import dev.septum.lab.verify.VerifyText;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code septum verify-backend}: holds a backend to every rule of the contract. */
@Command(
    name = "verify-backend",
    description = "Runs the conformance kit on a backend, and tells rule by rule how it did.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    footer = {"", "docs/spec.md has the rules, each with its reason and its kernel function."},
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:the backend keeps every rule on what it claims, but for those of --expect",
      "1:it breaks another rule, or keeps one that it was expected to break",
      "2:wrong usage, or a backend that cannot be loaded; nothing was run"
    })
final class VerifyBackendCommand implements Callable<Integer> {

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Parameters(paramLabel = "ID", description = "The backend, as septum backends lists it.")
  @SuppressWarnings("NullAway.Init")
  private String id;

  @Mixin private final BackendPath path = new BackendPath();

  @Option(
      names = "--rule",
      paramLabel = "RULE",
      split = ",",
      description = "Only these rules, such as SPLIT.5, or all of a chapter, such as SPLIT.")
  private List<String> only = new ArrayList<>();

  @Option(
      names = "--expect",
      paramLabel = "RULE",
      split = ",",
      description = "The backend is known to break these rules.")
  private List<String> expected = new ArrayList<>();

  @Option(
      names = "--rule-timeout",
      paramLabel = "SECONDS",
      defaultValue = "60",
      description =
          "How long one rule may take before the backend counts as hanging (default:"
              + " ${DEFAULT-VALUE}).")
  private int ruleTimeout = 60;

  @Mixin private final ReportOptions report = new ReportOptions();

  @Override
  public Integer call() throws Exception {
    ImmutableSet<String> rules = chosen(only);
    ImmutableSet<String> broken = chosen(expected);
    for (String rule : broken) {
      if (!rules.isEmpty() && !rules.contains(rule)) {
        throw usage("--expect %s is not among the rules of --rule".formatted(rule));
      }
    }
    path.requireSeconds("--rule-timeout", ruleTimeout);
    return path.watching(() -> verify(rules, broken));
  }

  private int verify(ImmutableSet<String> rules, ImmutableSet<String> broken) throws IOException {
    KnownBackends known = path.known();
    KvmBackend backend = unwatched(known);
    Subject subject =
        new Subject(backend) {
          @Override
          public Duration timeLimit() {
            return Duration.ofSeconds(ruleTimeout);
          }
        };
    VerifyReport verified =
        report.whileShowing(
            progress ->
                new VerifyReport(
                    id,
                    backend.description(),
                    known.origin(id),
                    CapabilityNames.of(backend),
                    broken.asList(),
                    KitRun.of(
                        subject,
                        rule -> rules.isEmpty() || rules.contains(rule),
                        result -> tell(progress, result))));
    report.print(verified, VerifyText::of);
    return verified.held() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  /** The kit bounds each rule itself, and names the op that hangs. */
  private KvmBackend unwatched(KnownBackends known) {
    try {
      return known.unwatched(id);
    } catch (IllegalArgumentException e) {
      throw usage(String.valueOf(e.getMessage()));
    }
  }

  private static void tell(Progress progress, RuleResult result) {
    progress.says("%s: %s".formatted(result.rule(), result.verdict()));
  }

  /** The rules that a user means; each word is a rule or a chapter. */
  private ImmutableSet<String> chosen(List<String> words) {
    ImmutableSet.Builder<String> chosen = ImmutableSet.builder();
    for (String word : words) {
      ImmutableList<String> meant =
          KitRun.rules().stream()
              .filter(rule -> rule.equals(word) || rule.startsWith(word + "."))
              .collect(ImmutableList.toImmutableList());
      if (meant.isEmpty()) {
        throw usage("no rule \"%s\"; docs/spec.md has %s".formatted(word, chapters()));
      }
      chosen.addAll(meant);
    }
    return chosen.build();
  }

  private static String chapters() {
    return String.join(
        ", ",
        KitRun.rules().stream().map(rule -> rule.replaceFirst("\\..*", "")).distinct().toList());
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
