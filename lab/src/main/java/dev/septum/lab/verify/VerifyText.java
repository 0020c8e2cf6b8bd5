package dev.septum.lab.verify;

import com.google.common.base.Ascii;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import com.google.errorprone.annotations.FormatMethod;
import dev.septum.kit.RuleResult;
import dev.septum.kit.RuleResult.Verdict;
import java.util.Locale;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** The report as text: a line for each rule, what was wrong below it. */
public final class VerifyText {

  private static final int MOST_CHARS = 400;

  private static final Pattern WORD_ENDS =
      Pattern.compile("_|(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])");

  private static final ImmutableMap<String, String> ACRONYMS =
      ImmutableMap.of("kvm", "KVM", "vm", "VM", "enomem", "ENOMEM", "vcpus", "vCPU's");

  private VerifyText() {}

  /** A report. */
  public static String of(VerifyReport report) {
    StringBuilder text = new StringBuilder();
    line(text, "backend  %s (%s): %s", report.backend(), report.origin(), report.description());
    line(
        text,
        "claims   %s",
        report.claims().isEmpty() ? "nothing" : String.join(", ", report.claims()));
    line(text, "");
    report.rules().forEach(rule -> text.append(of(rule)));
    line(text, "");
    line(
        text,
        "%d passed, %d failed, %d skipped, %d not judged",
        report.with(Verdict.PASSED).size(),
        report.with(Verdict.FAILED).size(),
        report.with(Verdict.SKIPPED).size(),
        report.with(Verdict.NOT_JUDGED).size());
    line(text, "%s", conclusion(report));
    return text.toString();
  }

  private static String conclusion(VerifyReport report) {
    ImmutableSet<String> expected = ImmutableSet.copyOf(report.expected());
    ImmutableSet<String> failed = report.with(Verdict.FAILED);
    Sets.SetView<String> kept = Sets.difference(expected, failed);
    if (!kept.isEmpty()) {
      return "Expected to fail, and did not: " + String.join(", ", kept);
    }
    Sets.SetView<String> unexpected = Sets.difference(failed, expected);
    if (!unexpected.isEmpty()) {
      return "docs/spec.md says what is meant by " + String.join(", ", unexpected) + ".";
    }
    if (!report.held()) {
      return "Rules that are not judged may be broken too.";
    }
    return failed.isEmpty()
        ? "All held: the backend keeps every rule on what it claims."
        : "As expected: the backend breaks these rules and no other.";
  }

  /** One rule. */
  static String of(RuleResult rule) {
    StringBuilder text = new StringBuilder();
    line(text, "%-9s%-11s%s", rule.rule(), wordOf(rule.verdict()), titleOf(rule.test()));
    String reason =
        rule.verdict() == Verdict.PASSED ? explored(rule.reason()) : rule.reason().strip();
    reason.lines().forEach(reasonLine -> line(text, "%20s%s", "", shortened(reasonLine)));
    return text.toString();
  }

  /** A list of 512 leafs says no more than its beginning. */
  private static String shortened(String line) {
    return line.length() <= MOST_CHARS ? line : line.substring(0, MOST_CHARS) + "...";
  }

  /** How far races were explored, without the causes of failure that there are none of. */
  private static String explored(String note) {
    return note.replace(", 0 causes of failure", "").replace("; ", "\n");
  }

  private static String wordOf(Verdict verdict) {
    return verdict == Verdict.FAILED
        ? "FAILED"
        : verdict.name().toLowerCase(Locale.ROOT).replace('_', ' ');
  }

  /** A test's name as words. */
  private static String titleOf(String test) {
    return WORD_ENDS
        .splitAsStream(test)
        .map(word -> ACRONYMS.getOrDefault(Ascii.toLowerCase(word), lower(word)))
        .collect(Collectors.joining(" "));
  }

  /** Levels such as 2M stay as they are. */
  private static String lower(String word) {
    return Character.isDigit(word.charAt(0)) ? word : Ascii.toLowerCase(word);
  }

  @FormatMethod
  private static void line(StringBuilder text, String format, Object... arguments) {
    text.append(format.formatted(arguments).stripTrailing()).append('\n');
  }
}
