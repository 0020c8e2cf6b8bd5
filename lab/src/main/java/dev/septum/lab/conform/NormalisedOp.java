package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;

/** What one side did in an operation, as text that is equal on both sides if all is. */
record NormalisedOp(String title, ImmutableList<Part> parts) {

  /** What is compared, in the order in which it is. */
  enum Kind {
    ANSWER("answer"),
    EVENTS("event"),
    STATS("statistic"),
    REPORT("report"),
    TABLES("line of the dump");

    private final String lineName;

    Kind(String lineName) {
      this.lineName = lineName;
    }

    /** What a line of this kind is called. */
    String lineName() {
      return lineName;
    }
  }

  /** Lines of one kind. */
  record Part(Kind kind, ImmutableList<String> lines) {}
}
