package dev.septum.lab.report;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.septum.kvm.TraceSink;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.jspecify.annotations.Nullable;

/**
 * A trace as the kernel's own ftrace text, which Perfetto and Trace Compass open.
 *
 * <p>Time is logical: each event is one microsecond after the one before. The file appears under
 * its name only when {@link #commit} has been called; a trace that is closed without leaves nothing
 * behind. A target that is no regular file, such as a pipe, is written to directly. For one thread
 * at a time.
 */
public final class FtraceFile implements TraceSink, AutoCloseable {

  private static final String HEADER =
      """
      # tracer: nop
      #
      #                                _-----=> irqs-off/BH-disabled
      #                               / _----=> need-resched
      #                              | / _---=> hardirq/softirq
      #                              || / _--=> preempt-depth
      #                              ||| / _-=> migrate-disable
      #                              |||| /     delay
      #           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
      #              | |         |   |||||     |         |
      """;

  private static final String TASK = "          septum-1       [000] ..... ";
  private static final int SECOND_COLUMNS = 5;
  private static final int MICROS_PER_SECOND = 1_000_000;

  private final Path target;

  /** Where the events go until the trace is whole; null when they go to the target itself. */
  private final @Nullable Path part;

  private final BufferedWriter writer;
  private final StringBuilder line = new StringBuilder();
  private long micros;
  private @Nullable IOException failure;

  private FtraceFile(Path target, @Nullable Path part, BufferedWriter writer) {
    this.target = target;
    this.part = part;
    this.writer = writer;
  }

  /**
   * Starts a trace that will be {@code file}.
   *
   * @throws IOException if it cannot be written there; the message names the file
   */
  public static FtraceFile create(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      throw new IOException("trace file %s is a directory".formatted(file));
    }
    try {
      boolean exists = Files.exists(file);
      if (exists && !Files.isWritable(file)) {
        throw new AccessDeniedException(file.toString());
      }
      Path target = exists ? file.toRealPath() : file.toAbsolutePath();
      Path part =
          exists && !Files.isRegularFile(file)
              ? null
              : target.resolveSibling("." + target.getFileName() + ".part");
      BufferedWriter writer = Files.newBufferedWriter(part == null ? target : part, UTF_8);
      writer.write(HEADER);
      return new FtraceFile(target, part, writer);
    } catch (NoSuchFileException e) {
      throw new IOException("trace file %s: no such directory".formatted(file), e);
    } catch (AccessDeniedException e) {
      throw new IOException("trace file %s: permission denied".formatted(file), e);
    } catch (IOException e) {
      throw new IOException("trace file %s: %s".formatted(file, e.getMessage()), e);
    }
  }

  @Override
  public boolean isOn() {
    return failure == null;
  }

  /** Writes one event. A failure is kept for {@link #commit}: a boot does not end in the middle. */
  @Override
  public void event(String name, String fields) {
    if (failure != null) {
      return;
    }
    micros++;
    line.setLength(0);
    line.append(TASK);
    appendPadded(micros / MICROS_PER_SECOND, SECOND_COLUMNS, ' ');
    line.append('.');
    appendPadded(micros % MICROS_PER_SECOND, 6, '0');
    line.append(": ").append(name).append(": ").append(fields).append('\n');
    try {
      writer.append(line);
    } catch (IOException e) {
      failure = e;
    }
  }

  private void appendPadded(long number, int columns, char pad) {
    String digits = Long.toString(number);
    for (int i = digits.length(); i < columns; i++) {
      line.append(pad);
    }
    line.append(digits);
  }

  /**
   * Finishes the trace and gives it its name.
   *
   * @throws IOException if an event, or this, could not be written; nothing is left behind then
   */
  public void commit() throws IOException {
    try {
      if (failure != null) {
        throw failure;
      }
      writer.close();
      if (part != null) {
        Files.move(part, target, StandardCopyOption.REPLACE_EXISTING);
      }
    } catch (IOException e) {
      throw new IOException("trace file %s: %s".formatted(target, e.getMessage()), e);
    }
  }

  /** Drops what was not committed. */
  @Override
  public void close() throws IOException {
    try {
      writer.close();
    } catch (IOException e) {
      // What could not be written is dropped all the same; commit has said so.
    }
    if (part != null) {
      Files.deleteIfExists(part);
    }
  }
}
