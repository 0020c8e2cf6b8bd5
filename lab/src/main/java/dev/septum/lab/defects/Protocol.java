package dev.septum.lab.defects;

import com.fasterxml.jackson.annotation.JsonValue;
import com.google.common.collect.ImmutableList;
import com.google.errorprone.annotations.FormatMethod;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What was done and seen in a demonstration, line by line. */
final class Protocol {

  /** What a line tells. */
  enum Kind {
    /** Something was done. */
    STEP,
    /** Something was seen. */
    OBSERVED,
    /** Something was done for nothing. */
    HARMLESS,
    /** From here on reality and bookkeeping differ. */
    PARTED,
    /** An invariant that does not hold at the end. */
    REPORT;

    @Override
    @JsonValue
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** One line. */
  record Line(Kind kind, String text) {}

  private final List<Line> lines = new ArrayList<>();

  @FormatMethod
  void step(String format, Object... arguments) {
    lines.add(new Line(Kind.STEP, format.formatted(arguments)));
  }

  @FormatMethod
  void observed(String format, Object... arguments) {
    lines.add(new Line(Kind.OBSERVED, format.formatted(arguments)));
  }

  /** Notes that reality and bookkeeping have parted, if they have. */
  @FormatMethod
  void partedIf(boolean parted, String format, Object... arguments) {
    if (parted) {
      lines.add(new Line(Kind.PARTED, format.formatted(arguments)));
    }
  }

  /** Notes that something was done for nothing, if it was. */
  @FormatMethod
  void harmlessIf(boolean harmless, String format, Object... arguments) {
    if (harmless) {
      lines.add(new Line(Kind.HARMLESS, format.formatted(arguments)));
    }
  }

  void report(String text) {
    lines.add(new Line(Kind.REPORT, text));
  }

  ImmutableList<Line> lines() {
    return ImmutableList.copyOf(lines);
  }

  Verdict verdict() {
    if (has(Kind.PARTED) || has(Kind.REPORT)) {
      return Verdict.DEFECT;
    }
    return has(Kind.HARMLESS) ? Verdict.HARMLESS : Verdict.SOUND;
  }

  private boolean has(Kind kind) {
    return lines.stream().anyMatch(line -> line.kind() == kind);
  }
}
