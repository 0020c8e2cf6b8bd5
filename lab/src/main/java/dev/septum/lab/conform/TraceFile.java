package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import java.io.BufferedReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Reads a {@code trace.txt} into the lines of each operation. */
final class TraceFile {

  private static final Pattern BEGIN = Pattern.compile("ORACLE begin op=(\\d{1,9}) .*");
  private static final Pattern END = Pattern.compile("ORACLE end op=(\\d{1,9})\\b.*");

  /**
   * The lines of an operation.
   *
   * @param before what came since the operation before
   * @param lines what came between its begin and its end
   */
  record Section(ImmutableList<TraceLine> before, ImmutableList<TraceLine> lines) {
    static final Section NONE = new Section(ImmutableList.of(), ImmutableList.of());
  }

  private final String shown;
  private final Map<Integer, Section> sections = new HashMap<>();
  private final List<TraceLine> lines = new ArrayList<>();
  private ImmutableList<TraceLine> before = ImmutableList.of();
  private @Nullable Integer open;

  private TraceFile(String shown) {
    this.shown = shown;
  }

  /** Reads the file; the sections are by the operations' numbers. */
  static Map<Integer, Section> read(BufferedReader reader, String shown) throws IOException {
    TraceFile file = new TraceFile(shown);
    int number = 0;
    for (String text = reader.readLine(); text != null; text = reader.readLine()) {
      number++;
      if (!text.isEmpty() && text.charAt(0) != '#') {
        file.line(text, number);
      }
    }
    if (file.open != null) {
      throw new RecordingException(
          "%s: the trace ends inside of op %d".formatted(shown, file.open));
    }
    return file.sections;
  }

  private void line(String text, int number) throws RecordingException {
    try {
      TraceLine line = TraceLine.parse(text, number);
      EventFormats.require(line.toEvent());
      if (!line.event().equals(TraceLine.MARK) || !isBoundary(line)) {
        lines.add(line);
      }
    } catch (IllegalArgumentException e) {
      throw new RecordingException("%s:%d: %s".formatted(shown, number, e.getMessage()));
    }
  }

  private boolean isBoundary(TraceLine line) {
    Matcher begin = BEGIN.matcher(line.fields());
    Matcher end = END.matcher(line.fields());
    if (begin.matches()) {
      begin(Integer.parseInt(begin.group(1)));
      return true;
    }
    if (end.matches()) {
      end(Integer.parseInt(end.group(1)));
      return true;
    }
    return false;
  }

  private void begin(int op) {
    if (open != null || sections.containsKey(op)) {
      throw new IllegalArgumentException(
          "op %d begins %s".formatted(op, open == null ? "twice" : "inside of op " + open));
    }
    open = op;
    before = takeLines();
  }

  private void end(int op) {
    if (open == null || open != op) {
      throw new IllegalArgumentException("op %d ends, but it has not begun".formatted(op));
    }
    sections.put(op, new Section(before, takeLines()));
    open = null;
  }

  private ImmutableList<TraceLine> takeLines() {
    ImmutableList<TraceLine> taken = ImmutableList.copyOf(lines);
    lines.clear();
    return taken;
  }
}
