package dev.septum.lab.explore;

import dev.septum.kernel.schedule.RunTrace;
import java.util.ArrayList;
import java.util.List;

/** A schedule, step by step, with a column for each thread. */
public final class ReplayText {

  private static final int WIDEST = 46;
  private static final int NARROWEST = 12;
  private static final String GAP = "  ";

  private final Replayed replayed;

  /** Threads that do anything, in the order of their columns, and how wide these are. */
  private final List<Integer> columns = new ArrayList<>();

  private final List<Integer> widths = new ArrayList<>();
  private final StringBuilder text = new StringBuilder();

  private ReplayText(Replayed replayed) {
    this.replayed = replayed;
  }

  /** The report for people. */
  public static String of(Replayed replayed) {
    return new ReplayText(replayed).write();
  }

  private String write() {
    text.append("schedule  ").append(replayed.file()).append('\n');
    text.append("scenario  ").append(replayed.scenario()).append('\n');
    text.append("backend   ").append(replayed.backend()).append("\n\n");
    measure();
    List<String> titles = new ArrayList<>();
    columns.forEach(thread -> titles.add(replayed.threads().get(thread)));
    row("step", titles);
    int step = 0;
    for (RunTrace.Line line : replayed.lines()) {
      step += line.isStep() ? 1 : 0;
      rows(line.isStep() ? String.valueOf(step) : "", line);
    }
    text.append('\n');
    if (replayed.outcome() != null) {
      text.append("Came to: ").append(replayed.outcome()).append('\n');
    }
    if (replayed.found() == null) {
      text.append("Nothing found.\n");
    } else {
      text.append(
          "FOUND %s in step %d, as recorded:%n%s"
              .formatted(replayed.found(), replayed.steps(), replayed.report()));
    }
    return text.toString();
  }

  private void measure() {
    for (int thread = 0; thread < replayed.threads().size(); thread++) {
      int width = 0;
      for (RunTrace.Line line : replayed.lines()) {
        width = line.thread() == thread ? Math.max(width, textOf(line).length()) : width;
      }
      if (width > 0) {
        columns.add(thread);
        widths.add(
            Math.max(
                Math.max(NARROWEST, replayed.threads().get(thread).length()),
                Math.min(width, WIDEST)));
      }
    }
  }

  /** What a thread tells of itself is set off from what it does. */
  private static String textOf(RunTrace.Line line) {
    return line.isStep() ? line.text() : "- " + line.text();
  }

  private void rows(String number, RunTrace.Line line) {
    int column = columns.indexOf(line.thread());
    int width = widths.get(column);
    String rest = textOf(line);
    String label = number;
    while (true) {
      boolean isLast = column == columns.size() - 1;
      int cut = isLast || rest.length() <= width ? rest.length() : width;
      List<String> cells = new ArrayList<>();
      for (int i = 0; i < column; i++) {
        cells.add("");
      }
      cells.add(rest.substring(0, cut));
      row(label, cells);
      if (cut == rest.length()) {
        return;
      }
      rest = "    " + rest.substring(cut);
      label = "";
    }
  }

  private void row(String number, List<String> cells) {
    StringBuilder line = new StringBuilder("%5s".formatted(number));
    for (int i = 0; i < cells.size(); i++) {
      line.append(GAP).append(cells.get(i));
      if (i < cells.size() - 1) {
        line.append(" ".repeat(Math.max(0, widths.get(i) - cells.get(i).length())));
      }
    }
    text.append(line.toString().stripTrailing()).append('\n');
  }
}
