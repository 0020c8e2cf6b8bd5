package dev.septum.lab.seamcall;

import java.io.Serial;

/** A line of a script that cannot be run. The message names the file, the line and the word. */
public final class ScriptException extends Exception {

  @Serial private static final long serialVersionUID = 1L;

  ScriptException(String message) {
    super(message);
  }
}
