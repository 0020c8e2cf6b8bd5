package dev.septum.lab;

import java.io.PrintWriter;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;

/** One line on a terminal that is written over and over, once a boot takes long. */
final class ProgressLine implements Progress, AutoCloseable {

  private static final long PATIENCE_NANOS = 1_000_000_000;
  private static final long INTERVAL_NANOS = 200_000_000;

  /** The clock is asked once in so many steps. */
  private static final int STEPS_PER_LOOK = 256;

  private final PrintWriter terminal;
  private final LongSupplier nanoClock;
  private long nextNanos;
  private int steps;
  private int width;
  private String phase = "";
  private long total;

  ProgressLine(PrintWriter terminal, LongSupplier nanoClock) {
    this.terminal = terminal;
    this.nanoClock = nanoClock;
    this.nextNanos = nanoClock.getAsLong() + PATIENCE_NANOS;
  }

  /** Work that somebody may watch. */
  interface Work<R, E extends Exception> {
    R run(Progress progress) throws E;
  }

  /** Does work, and shows how far it is if that is wanted. */
  static <R, E extends Exception> R whileShowing(
      CommandSpec command, @Nullable Boolean option, Work<R, E> work) throws E {
    if (!isWanted(option)) {
      return work.run(Progress.OFF);
    }
    try (ProgressLine line = new ProgressLine(command.commandLine().getErr(), System::nanoTime)) {
      return work.run(line);
    }
  }

  /** As {@code --progress} says, else if stderr is a terminal. */
  private static boolean isWanted(@Nullable Boolean option) {
    return option == null ? Boolean.getBoolean(Septum.STDERR_IS_TERMINAL) : option;
  }

  @Override
  public void phase(String name, long phaseTotal) {
    phase = name;
    total = phaseTotal;
    look(0);
  }

  @Override
  public void reached(long done) {
    steps++;
    if (steps % STEPS_PER_LOOK == 0) {
      look(done);
    }
  }

  private void look(long done) {
    says("%s: %d of %d".formatted(phase, done, total));
  }

  @Override
  public void says(String text) {
    long now = nanoClock.getAsLong();
    if (now - nextNanos >= 0) {
      nextNanos = now + INTERVAL_NANOS;
      write(text);
    }
  }

  private void write(String text) {
    terminal.print("\r" + text + " ".repeat(Math.max(0, width - text.length())));
    terminal.flush();
    width = text.length();
  }

  /** Wipes the line. */
  @Override
  public void close() {
    if (width > 0) {
      write("");
      terminal.print("\r");
      terminal.flush();
    }
  }
}
