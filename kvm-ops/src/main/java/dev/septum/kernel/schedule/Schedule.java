package dev.septum.kernel.schedule;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Who goes next, at each step where two or more threads could, and how each choice point was
 * decided: all it takes to run a program the same way again.
 */
public record Schedule(ImmutableList<Choice> choices) {

  private static final String HEADER = "# schedule, %d choices: thread, then what it was about";

  /**
   * One choice.
   *
   * @param chosen the thread's number, or the value
   * @param isValue whether a value was chosen, not a thread
   * @param about the thread's step, or what the value decided; empty if unknown
   */
  public record Choice(int chosen, boolean isValue, String about) {
    @Override
    public String toString() {
      return (isValue ? "=" : "") + chosen + (about.isEmpty() ? "" : " " + about);
    }
  }

  /** The schedule as text: one choice a line, which {@link #parse} reads back. */
  public String toText() {
    return HEADER.formatted(choices.size())
        + "\n"
        + choices.stream().map(choice -> choice + "\n").collect(Collectors.joining());
  }

  /** Reads what {@link #toText} or {@link #toString} wrote. */
  public static Schedule parse(String text) {
    ImmutableList.Builder<Choice> choices = ImmutableList.builder();
    List<String> lines = text.strip().lines().toList();
    if (lines.size() == 1 && !lines.get(0).startsWith("#")) {
      for (String word : Splitter.on(' ').split(lines.get(0))) {
        String[] parts = word.split("x", 2);
        int times = parts.length == 1 ? 1 : number(parts[1], word);
        for (int i = 0; i < times; i++) {
          choices.add(choice(parts[0]));
        }
      }
      return new Schedule(choices.build());
    }
    lines.stream()
        .filter(line -> !line.startsWith("#"))
        .map(Schedule::choice)
        .forEach(choices::add);
    return new Schedule(choices.build());
  }

  private static Choice choice(String line) {
    String[] parts = line.strip().split(" ", 2);
    boolean isValue = parts[0].startsWith("=");
    int chosen = number(isValue ? parts[0].substring(1) : parts[0], line);
    return new Choice(chosen, isValue, parts.length == 1 ? "" : parts[1]);
  }

  private static int number(String digits, String line) {
    try {
      return Integer.parseUnsignedInt(digits);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("\"" + line + "\" is not a choice of a schedule", e);
    }
  }

  /** The schedule in one line, without what each choice was about: {@code 1x3 2 =1 1}. */
  @Override
  public String toString() {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < choices.size(); ) {
      Choice first = choices.get(i);
      int same = i + 1;
      while (same < choices.size()
          && choices.get(same).chosen() == first.chosen()
          && choices.get(same).isValue() == first.isValue()) {
        same++;
      }
      line.append(line.length() == 0 ? "" : " ").append(first.isValue() ? "=" : "");
      line.append(first.chosen()).append(same - i == 1 ? "" : "x" + (same - i));
      i = same;
    }
    return line.toString();
  }
}
