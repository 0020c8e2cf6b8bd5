package dev.septum.lab.bootlog;

import java.io.Serial;

/** A log that cannot be used. The message names the file, the line and the value. */
public final class BootLogException extends Exception {

  @Serial private static final long serialVersionUID = 1L;

  /** The message is one line. */
  public BootLogException(String message) {
    super(message);
  }
}
