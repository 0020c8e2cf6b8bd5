package dev.septum.bench;

import com.google.common.base.Splitter;
import java.util.List;
import java.util.Optional;

/** A line in which a subject says what it reached; when it arrives is what a cold start took. */
enum Mark {
  /** The mutant was found. */
  FIRST,
  /** Nothing is left to explore, and nothing was found. */
  COMPLETE,
  /** The bound was reached, and nothing was found. */
  BOUNDED;

  /**
   * What a subject said.
   *
   * @param nanos how long it took inside the subject
   * @param executions runs of the protocol, or states of its specification
   * @param steps scheduling points of all runs; 0 where they are not counted
   */
  record Said(Mark mark, long nanos, long executions, long steps) {}

  void print(long nanos, long executions, long steps) {
    System.out.println("mark " + this + " " + nanos + " " + executions + " " + steps);
  }

  static Optional<Said> parse(String line) {
    List<String> words = Splitter.on(' ').splitToList(line);
    if (words.size() != 5 || !words.get(0).equals("mark")) {
      return Optional.empty();
    }
    return Optional.of(
        new Said(
            valueOf(words.get(1)),
            Long.parseLong(words.get(2)),
            Long.parseLong(words.get(3)),
            Long.parseLong(words.get(4))));
  }
}
