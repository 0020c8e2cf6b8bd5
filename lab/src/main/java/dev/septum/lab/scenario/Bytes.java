package dev.septum.lab.scenario;

import static com.google.common.base.Preconditions.checkArgument;

import com.fasterxml.jackson.annotation.JsonValue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A size or an address, in bytes. */
public record Bytes(long value) {

  static final String ACCEPTED = "bytes, such as 0x200000, 64K, 2M or 1G";

  private static final Pattern TEXT =
      Pattern.compile("(?:0x([0-9a-f]{1,15})|([0-9]{1,18}))([KMGT]?)", Pattern.CASE_INSENSITIVE);

  /** Reads {@code 0x200000}, {@code 2M} and the like. */
  public static Bytes parse(String text) {
    Matcher matcher = TEXT.matcher(text.replace("_", ""));
    checkArgument(matcher.matches(), ACCEPTED);
    String hex = matcher.group(1);
    long number = hex != null ? Long.parseLong(hex, 16) : Long.parseLong(matcher.group(2));
    long value;
    try {
      value = Math.multiplyExact(number, unit(matcher.group(3)));
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException(ACCEPTED, e);
    }
    return new Bytes(value);
  }

  private static long unit(String suffix) {
    return suffix.isEmpty()
        ? 1
        : 1L << (10 * (1 + "KMGT".indexOf(Character.toUpperCase(suffix.charAt(0)))));
  }

  /** Whether it is a whole number of 4 KiB pages. */
  public boolean isPages() {
    return value % 4096 == 0;
  }

  /** 4 KiB frames. */
  public long frames() {
    return value >>> 12;
  }

  /** The largest unit that leaves no rest; addresses in the middle of things in hex. */
  @Override
  @JsonValue
  public String toString() {
    for (int power = 4; power >= 1; power--) {
      long unit = 1L << (10 * power);
      if (value != 0 && value % unit == 0 && value / unit < 1024) {
        return value / unit + "" + "KMGT".charAt(power - 1);
      }
    }
    return value == 0 ? "0" : "0x" + Long.toHexString(value);
  }
}
