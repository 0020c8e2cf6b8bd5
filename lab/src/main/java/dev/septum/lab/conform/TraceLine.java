package dev.septum.lab.conform;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A line of an ftrace text file.
 *
 * @param time the global counter that orders the lines of all CPUs; gaps mean nothing
 * @param lineNumber where the line is in its file, from 1
 */
record TraceLine(int cpu, long time, String event, String fields, int lineNumber) {

  /** The mark of user space. */
  static final String MARK = "tracing_mark_write";

  /** Behind the thread, whose name may have anything in it. */
  private static final Pattern LINE =
      Pattern.compile(" \\[(\\d{1,5})\\] \\S+ +(\\d{1,18}): ([^ :]+): ?(.*)$");

  /**
   * Reads a line.
   *
   * @throws IllegalArgumentException if it is none; the message has the value
   */
  static TraceLine parse(String text, int lineNumber) {
    Matcher m = LINE.matcher(text);
    if (!m.find()) {
      throw new IllegalArgumentException("not a line of a trace: '%s'".formatted(text));
    }
    return new TraceLine(
        Integer.parseInt(m.group(1)),
        Long.parseLong(m.group(2)),
        m.group(3).intern(),
        m.group(4),
        lineNumber);
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
