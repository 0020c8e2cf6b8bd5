package dev.septum.lab;

import dev.septum.lab.conform.Replay;
import java.io.PrintWriter;
import java.io.StringWriter;

/** The septum command in tests of what boots no guest. */
final class TestCommand {

  private TestCommand() {}

  static int run(StringWriter out, StringWriter err, String... args) {
    return Septum.run(
        Septum.commandLine(
                (map, options, progress) -> {
                  throw new AssertionError("nothing is to be booted");
                },
                new Replay())
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true)),
        args);
  }
}
