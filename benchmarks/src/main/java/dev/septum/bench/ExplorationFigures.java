package dev.septum.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.google.common.io.MoreFiles;
import com.google.common.io.RecursiveDeleteOption;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** How fast schedules of the split cache are explored, beside Lincheck and TLC. */
@Command(
    name = "benchmarks/run explore",
    description = "How fast schedules of the split cache are explored, beside Lincheck and TLC.",
    mixinStandardHelpOptions = true)
public final class ExplorationFigures implements Callable<Integer> {

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Option(
      names = "--java",
      paramLabel = "HOME",
      description = "A JDK to measure on, as often as you like; the one that runs this if none.")
  private List<Path> javas = new ArrayList<>();

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "3",
      description = "Cold starts of each kind (default: ${DEFAULT-VALUE}).")
  private int rounds;

  @Option(
      names = "--warm-rounds",
      paramLabel = "N",
      defaultValue = "500",
      description = {
        "How often each JVM looks for the first failure (default: ${DEFAULT-VALUE});",
        "Lincheck no more than 10 times. The second half is warm."
      })
  private int warmRounds;

  @Option(
      names = "--most-schedules",
      paramLabel = "N",
      defaultValue = "1000000",
      description = "Where our exhaustive search gives up (default: ${DEFAULT-VALUE}).")
  private long mostSchedules;

  @Option(
      names = "--invocations",
      paramLabel = "N",
      defaultValue = "500",
      description = "Lincheck's executions of each of 9 scenarios (default: ${DEFAULT-VALUE}).")
  private int invocations;

  @Option(names = "--quick", description = "Without the larger specification.")
  private boolean quick;

  @Option(names = "--json", description = "Machine-readable figures instead of a table.")
  private boolean json;

  private ExplorationFigures() {}

  /** Runs the command and exits with its code. */
  public static void main(String[] args) {
    System.exit(commandLine().execute(args));
  }

  static CommandLine commandLine() {
    return new CommandLine(new ExplorationFigures());
  }

  @Override
  public Integer call() throws IOException {
    if (rounds < 1 || warmRounds < 1 || mostSchedules < 1 || invocations < 1) {
      throw new ParameterException(spec.commandLine(), "a bound must be 1 or more");
    }
    List<Path> homes = javas.isEmpty() ? List.of(Path.of(System.getProperty("java.home"))) : javas;
    for (Path home : homes) {
      if (!Files.isExecutable(home.resolve("bin").resolve("java"))) {
        throw new ParameterException(spec.commandLine(), "no bin/java in " + home);
      }
    }
    print(measure(homes));
    return ExitCode.OK;
  }

  private List<Figure> measure(List<Path> homes) throws IOException {
    Path directory = Files.createTempDirectory("septum-tlc");
    try {
      TlcModel tlc = new TlcModel(directory);
      Measurement.Bounds bounds =
          new Measurement.Bounds(rounds, warmRounds, mostSchedules, invocations, !quick);
      List<Figure> figures = new ArrayList<>();
      for (Path home : homes) {
        figures.addAll(new Measurement(home, bounds, tlc).all());
      }
      return figures;
    } finally {
      MoreFiles.deleteRecursively(directory, RecursiveDeleteOption.ALLOW_INSECURE);
    }
  }

  private void print(List<Figure> figures) throws IOException {
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      ObjectMapper mapper = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
      out.println(mapper.writeValueAsString(figures));
    } else {
      out.print(new FiguresTable(figures));
      out.println();
      FiguresTable.notes().forEach(out::println);
    }
    out.flush();
  }
}
