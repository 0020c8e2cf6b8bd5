package dev.septum.lab.run;

import dev.septum.lab.scenario.Expectation;
import dev.septum.lab.scenario.Injection;
import dev.septum.lab.scenario.SlotSetup;
import dev.septum.lab.scenario.Step;
import dev.septum.lab.scenario.Verb;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** A step in one line: who, what, how. */
final class StepText {

  private StepText() {}

  static String of(Step step) {
    String who =
        Stream.of(label("vCPU ", step.vcpu()), label("VM ", step.vm()), label("file ", step.file()))
            .collect(Collectors.joining());
    String what = value(step.verb().of(step));
    String how =
        Verb.modifiersOf(step).entrySet().stream()
            .map(entry -> " " + entry.getKey() + " " + value(entry.getValue()))
            .collect(Collectors.joining());
    String often = step.repeat() == 1 ? "" : ", %d times".formatted(step.repeat());
    return who + step.verb().key() + (what.isEmpty() ? "" : " " + what) + how + often;
  }

  private static String label(String what, @Nullable String name) {
    return name == null ? "" : what + name + " ";
  }

  private static String value(@Nullable Object value) {
    if (value instanceof List<?> list) {
      if (!list.isEmpty() && list.get(0) instanceof Step) {
        return list.size() + "";
      }
      return list.stream().map(StepText::value).collect(Collectors.joining(", "));
    }
    if (value instanceof SlotSetup slot) {
      return "%d at %s".formatted(slot.slot(), slot.range());
    }
    if (value instanceof Injection injection) {
      return text(injection);
    }
    boolean saysNothing = value == null || value.equals(true) || value instanceof Expectation;
    return saysNothing ? "" : String.valueOf(value).replace("{", "").replace("}", "");
  }

  private static String text(Injection injection) {
    String which =
        "%s%s"
            .formatted(
                injection.next() == 1 ? "the next" : "in " + injection.next(),
                injection.times() == 1 ? "" : ", " + injection.times() + " times");
    if (injection.before() != null) {
      return "before %s (%s)".formatted(injection.before().name().toLowerCase(Locale.ROOT), which);
    }
    if (injection.allocation() != null) {
      return "no memory for %s (%s)".formatted(injection.allocation(), which);
    }
    String effect =
        injection.interrupted()
            ? "interrupted"
            : injection.status() == null ? "TDX_OPERAND_BUSY" : injection.status();
    return "%s %s (%s)".formatted(injection.seamcall(), effect, which);
  }
}
