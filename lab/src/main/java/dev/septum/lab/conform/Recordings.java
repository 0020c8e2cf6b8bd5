package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/** Where the recordings of a folder are. */
public final class Recordings {

  static final String OPS = "ops.json";

  private static final String ZIP = ".zip";

  /**
   * A recording that was found.
   *
   * @param name its path below the folder that was searched, such as {@code la57/01-thp2m}
   */
  public record Found(String name, Path path) {

    /**
     * Reads the recording.
     *
     * @throws RecordingException if something is missing or is not what it should be
     */
    public Recording read() throws RecordingException {
      return RecordingReader.read(name, path);
    }
  }

  private Recordings() {}

  /**
   * The recordings in a folder and below, by name; the folder may itself be one.
   *
   * @throws RecordingException if there is none
   */
  public static ImmutableList<Found> find(Path folder) throws RecordingException {
    if (isRecording(folder)) {
      return ImmutableList.of(new Found(nameOf(folder), folder));
    }
    if (!Files.isDirectory(folder)) {
      throw new RecordingException(
          Files.exists(folder)
              ? "%s: neither a folder nor a .zip file".formatted(folder)
              : "%s: no such folder".formatted(folder));
    }
    ImmutableList<Found> found = search(folder);
    if (found.isEmpty()) {
      throw new RecordingException(
          "%s: no recording: no folder with %s and no .zip file".formatted(folder, OPS));
    }
    return found;
  }

  private static ImmutableList<Found> search(Path folder) throws RecordingException {
    try (Stream<Path> paths = Files.walk(folder)) {
      return paths
          .filter(Recordings::isRecording)
          .map(path -> new Found(withoutZip(folder.relativize(path).toString()), path))
          .sorted(Comparator.comparing(Found::name))
          .collect(ImmutableList.toImmutableList());
    } catch (IOException | UncheckedIOException e) {
      throw new RecordingException("%s: cannot be searched: %s".formatted(folder, e.getMessage()));
    }
  }

  static boolean isZip(Path path) {
    return path.toString().endsWith(ZIP) && Files.isRegularFile(path);
  }

  static String nameOf(Path path) {
    Path last = path.toAbsolutePath().normalize().getFileName();
    return withoutZip(last == null ? path.toString() : last.toString());
  }

  private static boolean isRecording(Path path) {
    return isZip(path) || Files.isRegularFile(path.resolve(OPS));
  }

  private static String withoutZip(String name) {
    return name.endsWith(ZIP) ? name.substring(0, name.length() - ZIP.length()) : name;
  }
}
