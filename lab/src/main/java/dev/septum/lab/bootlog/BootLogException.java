package dev.septum.lab.bootlog;

import java.io.Serial;

/** A log from which no guest can be built. The message names the file, the line and the value. */
public final class BootLogException extends Exception {

  @Serial private static final long serialVersionUID = 1L;

  BootLogException(String message) {
    super(message);
  }
}
