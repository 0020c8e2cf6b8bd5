package dev.septum.lab.conform;

import com.google.common.collect.ImmutableList;
import java.nio.file.Path;

/** The recordings of the real kernel, each read once. */
public final class RealRecordings {

  /** Where they are. */
  public static final Path FOLDER = Path.of("recordings");

  private RealRecordings() {}

  static Recording read(String name) {
    try {
      return Recording.read(FOLDER.resolve(name + ".zip"));
    } catch (RecordingException e) {
      throw new AssertionError(e);
    }
  }

  static ImmutableList<Recordings.Found> all() throws RecordingException {
    return Recordings.find(FOLDER);
  }
}
