package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/** The recordings of the real kernel that are part of the project. */
public final class RealRecordings {

  /** Where they are. */
  public static final Path FOLDER = Path.of("recordings");

  /** Recordings do not change, so each is read once. */
  private static final Map<String, Recording> READ = new ConcurrentHashMap<>();

  private RealRecordings() {}

  /** All of them. */
  static ImmutableList<Recordings.Found> all() throws RecordingException {
    return Recordings.find(FOLDER);
  }

  /** The .zip file of one. */
  public static Path zip(String name) {
    return FOLDER.resolve(name + ".zip");
  }

  static Recording read(String name) throws RecordingException {
    Recording known = READ.get(name);
    if (known == null) {
      known = Recording.read(zip(name));
      READ.put(name, known);
    }
    return known;
  }

  /** Unpacks one into a new folder, so that a test can damage it. */
  public static Path unpack(String name, Path parent) throws IOException {
    Path folder = Files.createDirectories(parent.resolve(name));
    try (FileSystem zip = FileSystems.newFileSystem(zip(name));
        Stream<Path> files = Files.list(zip.getPath("/"))) {
      files.forEach(file -> copy(file, folder));
    }
    return folder;
  }

  private static void copy(Path file, Path folder) {
    try {
      Files.copy(file, folder.resolve(String.valueOf(file.getFileName())));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
