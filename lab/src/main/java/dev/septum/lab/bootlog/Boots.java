package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.List;

/** Finds where in a log one boot ends and the next starts. */
public final class Boots {

  /** Stamps of one boot may step back a little: CPUs print with clocks of their own. */
  private static final long CLOCK_SKEW_MICROS = 10_000;

  private static final String BANNER = "Linux version ";

  private Boots() {}

  /** The lines of each boot, in order; at least one boot for a log with lines. */
  public static ImmutableList<ImmutableList<LogLine>> split(List<LogLine> lines) {
    List<ImmutableList<LogLine>> boots = new ArrayList<>();
    List<LogLine> boot = new ArrayList<>();
    long latest = LogLine.NO_STAMP;
    boolean hasBanner = false;
    for (LogLine line : lines) {
      boolean isBanner = line.text().contains(BANNER);
      boolean jumpsBack =
          line.micros() != LogLine.NO_STAMP && line.micros() < latest - CLOCK_SKEW_MICROS;
      if (jumpsBack || (isBanner && hasBanner)) {
        boots.add(ImmutableList.copyOf(boot));
        boot.clear();
        latest = LogLine.NO_STAMP;
        hasBanner = false;
      }
      hasBanner |= isBanner;
      latest = Math.max(latest, line.micros());
      boot.add(line);
    }
    boots.add(ImmutableList.copyOf(boot));
    return ImmutableList.copyOf(boots);
  }
}
