package dev.septum.bench;

/** What explores the protocol. */
enum Tool {
  PLATFORM_RANDOM("septum, platform threads, random", "schedules"),
  PLATFORM_PCT("septum, platform threads, pct", "schedules"),
  PLATFORM_EXHAUSTIVE("septum, platform threads, exhaustive", "schedules"),
  PLATFORM_COUNTED("septum, platform threads, a class", "schedules"),
  VIRTUAL_RANDOM("septum, virtual threads, random", "schedules"),
  VIRTUAL_PCT("septum, virtual threads, pct", "schedules"),
  VIRTUAL_EXHAUSTIVE("septum, virtual threads, exhaustive", "schedules"),
  VIRTUAL_COUNTED("septum, virtual threads, a class", "schedules"),
  LINCHECK("Lincheck 3.7, a class", "executions"),
  TLC("TLC 1.1.0, a specification", "distinct states"),
  TLC_LARGE("TLC 1.1.0, 4 splitters and 3 toppers", "distinct states");

  private final String title;
  private final String unit;

  Tool(String title, String unit) {
    this.title = title;
    this.unit = unit;
  }

  String title() {
    return title;
  }

  /** What it counts. */
  String unit() {
    return unit;
  }

  /** Whether it is not ours, and was given what ours was given. */
  boolean isPeer() {
    return this == LINCHECK || this == TLC;
  }

  /** Whether it is ours, on the real code. */
  boolean isOurs() {
    return ordinal() < LINCHECK.ordinal() && !isCounted();
  }

  /** Whether it is ours, on what the peers were given. */
  boolean isCounted() {
    return this == PLATFORM_COUNTED || this == VIRTUAL_COUNTED;
  }
}
