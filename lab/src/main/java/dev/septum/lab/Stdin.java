package dev.septum.lab;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/** What comes in on stdin: what a person types, or the lines of a pipe or file. */
record Stdin(BufferedReader lines, boolean isTyped) {

  /** The stdin of this process. */
  // JDK 22 and newer have a console even where stdin is a pipe: there stderr alone decides.
  @SuppressWarnings("SystemConsoleNull")
  static Stdin ofProcess() {
    return new Stdin(
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)),
        System.console() != null && Boolean.getBoolean(Septum.STDERR_IS_TERMINAL));
  }
}
