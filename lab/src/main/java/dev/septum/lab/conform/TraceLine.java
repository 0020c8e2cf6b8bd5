package dev.septum.lab.conform;

/**
 * A line of an ftrace text file.
 *
 * @param time the global counter that orders the lines of all CPUs; gaps mean nothing
 * @param lineNumber where the line is in its file, from 1
 */
record TraceLine(int cpu, long time, String event, String fields, int lineNumber) {

  /** The mark of user space. */
  static final String MARK = "tracing_mark_write";

  private static final String NO_LINE = "not a line of a trace: '%s'";

  /**
   * Reads a line.
   *
   * @throws IllegalArgumentException if it is none; the message has the value
   */
  static TraceLine parse(String text, int lineNumber) {
    int open = text.indexOf(" [");
    int close = text.indexOf("] ", open + 1);
    int colon = text.indexOf(": ", close + 1);
    int nameEnd = text.indexOf(':', colon + 2);
    if (open < 0 || close < 0 || colon < 0 || nameEnd < 0) {
      throw new IllegalArgumentException(NO_LINE.formatted(text));
    }
    int timeStart = text.lastIndexOf(' ', colon) + 1;
    try {
      return new TraceLine(
          Integer.parseInt(text, open + 2, close, 10),
          Long.parseLong(text, timeStart, colon, 10),
          text.substring(colon + 2, nameEnd).intern(),
          text.substring(Math.min(nameEnd + 2, text.length())),
          lineNumber);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(NO_LINE.formatted(text), e);
    }
  }

  /** Whether a kprobe printed the line: it starts with the place that is probed. */
  boolean isProbe() {
    return fields.startsWith("(");
  }

  /** What happened, without when and where. */
  Event toEvent() {
    return new Event(event, isProbe() ? fields.substring(fields.indexOf(')') + 1).strip() : fields);
  }
}
