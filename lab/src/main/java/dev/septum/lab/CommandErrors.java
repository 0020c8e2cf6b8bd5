package dev.septum.lab;

import dev.septum.lab.backend.BackendException;
import dev.septum.lab.bootlog.BootLogException;
import dev.septum.lab.scenario.ScenarioException;
import java.io.IOException;
import java.io.PrintWriter;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** Turns every failure of the command into one line on stderr and an exit code. */
final class CommandErrors implements IParameterExceptionHandler, IExecutionExceptionHandler {

  /** Set to see where the emulator failed. */
  private static final String DEBUG = "SEPTUM_DEBUG";

  @Override
  public int handleParseException(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    PrintWriter err = command.getErr();
    err.println("septum: " + oneLine(e.getMessage()));
    err.println("Try '" + command.getCommandSpec().qualifiedName() + " --help'.");
    return ExitCode.USAGE;
  }

  @Override
  public int handleExecutionException(Exception e, CommandLine command, ParseResult parsed) {
    PrintWriter err = command.getErr();
    if (e instanceof BootLogException
        || e instanceof ScenarioException
        || e instanceof IOException) {
      err.println("septum: " + oneLine(e.getMessage()));
      return ExitCode.USAGE;
    }
    if (e instanceof BackendException) {
      err.println("septum: " + oneLine(e.getMessage()));
      return ExitCode.SOFTWARE;
    }
    // What the emulator throws is a broken invariant of its own: something was found.
    err.println("septum: the emulator stopped: " + oneLine(e.toString()));
    if (System.getenv(DEBUG) != null) {
      e.printStackTrace(err);
    } else {
      err.println("Set " + DEBUG + "=1 to see where.");
    }
    return ExitCode.SOFTWARE;
  }

  private static String oneLine(@Nullable String text) {
    return String.valueOf(text).replaceAll("\\R+", " ");
  }
}
