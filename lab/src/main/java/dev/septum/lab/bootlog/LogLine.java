package dev.septum.lab.bootlog;

/**
 * One line of a log.
 *
 * @param file the log's name as the user gave it
 * @param number the line's number in the file, from 1
 * @param micros its time stamp in µs, or {@link #NO_STAMP}
 * @param text the line without colours, carriage returns and other console codes
 */
record LogLine(String file, int number, long micros, String text) {

  static final long NO_STAMP = -1;

  /** The line of what no line tells. */
  static final LogLine NONE = new LogLine("", 0, NO_STAMP, "");

  private static final int QUOTED = 100;

  /** The exception that refuses this line: what is wrong, then the line itself. */
  BootLogException error(String what) {
    return new BootLogException("%s:%d: %s in \"%s\"".formatted(file, number, what, quoted()));
  }

  /** The line's text, shortened to what fits a message. */
  String quoted() {
    String stripped = text.strip();
    return stripped.length() <= QUOTED ? stripped : stripped.substring(0, QUOTED) + "...";
  }
}
