package dev.septum.lab.scenario;

import static com.google.common.base.Preconditions.checkArgument;

import com.fasterxml.jackson.annotation.JsonValue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** How many of something are expected: {@code least} to {@code most}, both included. */
public record Amount(long least, long most) {

  static final String ACCEPTED = "a number, >=N, <=N or a range N..M";

  private static final Pattern TEXT =
      Pattern.compile("(>=|<=)?\\s*(-?\\d{1,18})(?:\\.\\.(\\d{1,18}))?");

  /** Reads {@code 4}, {@code >=4}, {@code <=4} or {@code 2..4}. */
  public static Amount parse(String text) {
    Matcher matcher = TEXT.matcher(text.trim());
    checkArgument(matcher.matches(), ACCEPTED);
    String bound = matcher.group(1);
    long number = Long.parseLong(matcher.group(2));
    String second = matcher.group(3);
    checkArgument(bound == null || second == null, ACCEPTED);
    if (bound != null) {
      return bound.equals(">=")
          ? new Amount(number, Long.MAX_VALUE)
          : new Amount(Long.MIN_VALUE, number);
    }
    long most = second == null ? number : Long.parseLong(second);
    checkArgument(most >= number, ACCEPTED);
    return new Amount(number, most);
  }

  /** Whether a count is as expected. */
  public boolean holds(long count) {
    return count >= least && count <= most;
  }

  @Override
  @JsonValue
  public String toString() {
    if (least == most) {
      return Long.toString(least);
    }
    return most == Long.MAX_VALUE
        ? ">=" + least
        : least == Long.MIN_VALUE ? "<=" + most : least + ".." + most;
  }
}
