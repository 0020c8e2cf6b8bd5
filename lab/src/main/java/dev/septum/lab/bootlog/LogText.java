package dev.septum.lab.bootlog;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The lines of a log file, freed of what consoles and loggers add to them. */
public final class LogText {

  private static final int MAX_BYTES = 256 << 20;

  /** One control character in 50 is noise on a serial line; more is not text. */
  private static final int TOLERATED_CONTROLS = 50;

  /** Terminal sequences: colours, cursor moves, resets. */
  private static final Pattern ESCAPE =
      Pattern.compile("\u001b(?:\\[[0-?]*[ -/]*[@-~]|[()][0-9A-B]|[@-Z\\\\-_=>c])");

  private static final Pattern CONTROL = Pattern.compile("[\\p{Cntrl}\ufeff&&[^\t]]");

  private static final Pattern STAMP = Pattern.compile("\\[\\s*(\\d{1,9})\\.(\\d{6})\\]");

  private LogText() {}

  /** Reads a file into lines; comments and empty lines are left out, numbers stay the file's. */
  public static ImmutableList<LogLine> read(Path file) throws BootLogException {
    byte[] bytes = bytes(file);
    requireText(file, bytes);
    ImmutableList.Builder<LogLine> lines = ImmutableList.builder();
    int number = 0;
    for (String raw : new String(bytes, StandardCharsets.UTF_8).split("\n", -1)) {
      number++;
      String text = clean(raw);
      if (!text.isBlank() && !isComment(text)) {
        lines.add(new LogLine(file.toString(), number, stamp(text), text));
      }
    }
    ImmutableList<LogLine> all = lines.build();
    if (all.isEmpty()) {
      throw new BootLogException(file + ": the log is empty");
    }
    return all;
  }

  private static byte[] bytes(Path file) throws BootLogException {
    if (Files.isDirectory(file)) {
      throw new BootLogException(file + ": is a directory, not a boot log");
    }
    try (InputStream in = Files.newInputStream(file)) {
      byte[] bytes = in.readNBytes(MAX_BYTES + 1);
      if (bytes.length > MAX_BYTES) {
        throw new BootLogException(
            "%s: is larger than %d MiB, no boot log is".formatted(file, MAX_BYTES >> 20));
      }
      return bytes;
    } catch (NoSuchFileException e) {
      throw new BootLogException(file + ": no such file");
    } catch (AccessDeniedException e) {
      throw new BootLogException(file + ": permission denied");
    } catch (IOException e) {
      throw new BootLogException("%s: cannot be read: %s".formatted(file, e.getMessage()));
    }
  }

  private static void requireText(Path file, byte[] bytes) throws BootLogException {
    int controls = 0;
    int firstLine = 0;
    int line = 1;
    for (byte b : bytes) {
      if (b == '\n') {
        line++;
      } else if (b >= 0 && b < ' ' && b != '\t' && b != '\r' && b != '\u001b') {
        controls++;
        firstLine = firstLine == 0 ? line : firstLine;
      }
    }
    if (controls > bytes.length / TOLERATED_CONTROLS) {
      throw new BootLogException(
          "%s:%d: not a text file: %d of its %d bytes are control characters"
              .formatted(file, firstLine, controls, bytes.length));
    }
  }

  private static String clean(String raw) {
    return CONTROL.matcher(ESCAPE.matcher(raw).replaceAll("")).replaceAll("");
  }

  private static boolean isComment(String text) {
    String stripped = text.strip();
    return stripped.startsWith("#") || stripped.startsWith("//");
  }

  private static long stamp(String text) {
    Matcher stamp = STAMP.matcher(text);
    return stamp.find()
        ? Long.parseLong(stamp.group(1)) * 1_000_000 + Long.parseLong(stamp.group(2))
        : LogLine.NO_STAMP;
  }
}
