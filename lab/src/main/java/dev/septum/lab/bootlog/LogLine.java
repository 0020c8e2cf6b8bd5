package dev.septum.lab.bootlog;

/**
 * One line of a log.
 *
 * @param file the log's name as the user gave it
 * @param number the line's number in the file, from 1
 * @param micros its time stamp in µs, or {@link #NO_STAMP}
 * @param text the line without colours, carriage returns and other console codes
 */
public record LogLine(String file, int number, long micros, String text) {

  static final long NO_STAMP = -1;

  /** The line of what no line tells. */
  public static final LogLine NONE = new LogLine("", 0, NO_STAMP, "");

  private static final int QUOTED = 100;

  /** The exception that refuses this line: what is wrong, then the line itself. */
  public BootLogException error(String what) {
    return new BootLogException("%s:%d: %s in \"%s\"".formatted(file, number, what, quoted()));
  }

  /** The line's text, shortened to what fits a message. */
  public String quoted() {
    String stripped = text.strip();
    return stripped.length() <= QUOTED ? stripped : stripped.substring(0, QUOTED) + "...";
  }

  /** A hexadecimal number in this line, with or without 0x, that is at most {@code max}. */
  public long hex(String text, long max) throws BootLogException {
    boolean hasPrefix = text.startsWith("0x") || text.startsWith("0X");
    return number(hasPrefix ? text.substring(2) : text, 16, max);
  }

  /** A decimal number in this line that is at most {@code max}. */
  public long decimal(String digits, long max) throws BootLogException {
    return number(digits, 10, max);
  }

  private long number(String digits, int radix, long max) throws BootLogException {
    boolean isHex = radix == 16;
    if (!digits.matches(isHex ? "[0-9a-fA-F]+" : "[0-9]+")) {
      throw error("\"%s\" is not a %s number".formatted(digits, isHex ? "hexadecimal" : "decimal"));
    }
    try {
      long value = Long.parseLong(digits, radix);
      if (value <= max) {
        return value;
      }
    } catch (NumberFormatException e) {
      // Larger than a long: too large as well.
    }
    throw error("%s%s is too large".formatted(isHex ? "0x" : "", digits));
  }
}
