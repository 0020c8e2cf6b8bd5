package dev.septum.lab.conform;

import java.io.IOException;
import java.io.Serial;

/**
 * A recording that cannot be read. The message names the file, the line or operation, and the
 * value.
 */
public final class RecordingException extends IOException {

  @Serial private static final long serialVersionUID = 1L;

  /** What is wrong, and where. */
  public RecordingException(String message) {
    super(message);
  }
}
