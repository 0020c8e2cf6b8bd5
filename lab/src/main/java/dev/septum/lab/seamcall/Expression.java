package dev.septum.lab.seamcall;

import com.google.common.collect.ImmutableList;
import java.util.Optional;
import java.util.function.ToLongFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Numbers and names joined by {@code +}, {@code -} and {@code |}, from left to right: {@code
 * gpa+4K|1}.
 */
final class Expression {

  static final String ACCEPTED =
      "a number (0x1000, 512, 2M), a variable or a register, joined by + - |";

  private static final Pattern PART = Pattern.compile("(^|[-+|])([^-+|]+)");
  private static final Pattern NUMBER =
      Pattern.compile("0[xX]([0-9a-fA-F]{1,16})|(\\d{1,18})([KMGT]?)");
  private static final String UNITS = "KMGT";

  private record Part(char operator, String name, long number) {}

  private final ImmutableList<Part> parts;

  private Expression(ImmutableList<Part> parts) {
    this.parts = parts;
  }

  /** Reads an expression whose names are all known. */
  static Expression parse(String word, ScriptLine line, Scope scope) throws ScriptException {
    ImmutableList.Builder<Part> parts = ImmutableList.builder();
    Matcher part = PART.matcher(word);
    int end = 0;
    while (part.find() && part.start() == end) {
      end = part.end();
      char operator = part.group(1).isEmpty() ? '+' : part.group(1).charAt(0);
      parts.add(part(operator, part.group(2), word, line, scope));
    }
    if (end == 0 || end != word.length()) {
      throw line.error(word, "is no value", ACCEPTED);
    }
    return new Expression(parts.build());
  }

  private static Part part(char operator, String text, String word, ScriptLine line, Scope scope)
      throws ScriptException {
    Optional<Long> number = number(text);
    if (number.isEmpty() && !scope.has(text)) {
      throw line.error(word, "names \"%s\", which is not set".formatted(text), scope.names());
    }
    return new Part(operator, text, number.orElse(0L));
  }

  /** A number as scripts write it. */
  static Optional<Long> number(String text) {
    Matcher number = NUMBER.matcher(text);
    if (!number.matches()) {
      return Optional.empty();
    }
    if (number.group(1) != null) {
      return Optional.of(Long.parseUnsignedLong(number.group(1), 16));
    }
    int shift = number.group(3).isEmpty() ? 0 : 10 * (UNITS.indexOf(number.group(3)) + 1);
    long value = Long.parseLong(number.group(2));
    return value > Long.MAX_VALUE >> shift ? Optional.empty() : Optional.of(value << shift);
  }

  /** The value, where {@code variables} knows each name. */
  long evaluate(ToLongFunction<String> variables) {
    long value = 0;
    for (Part part : parts) {
      long operand = number(part.name).isPresent() ? part.number : variables.applyAsLong(part.name);
      value =
          switch (part.operator) {
            case '-' -> value - operand;
            case '|' -> value | operand;
            default -> value + operand;
          };
    }
    return value;
  }
}
