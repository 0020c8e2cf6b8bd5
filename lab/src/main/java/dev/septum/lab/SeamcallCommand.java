package dev.septum.lab;

import dev.septum.lab.seamcall.ScriptException;
import dev.septum.lab.seamcall.SeamcallPrompt;
import dev.septum.tdx.module.TdxModuleConfig;
import java.io.IOException;
import java.nio.charset.MalformedInputException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code septum seamcall}: SEAMCALLs on a fresh module, from a script or a prompt. */
@Command(
    name = "seamcall",
    description = "Issues SEAMCALLs on a fresh TDX module and shows what came of them.",
    mixinStandardHelpOptions = true,
    versionProvider = Septum.Version.class,
    sortOptions = false,
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:every expectation held",
      "1:one did not, or a command stopped midway",
      "2:wrong usage or script; nothing of the script was run"
    })
final class SeamcallCommand implements Callable<Integer> {

  private static final long MIN_MEMORY = 1L << 30;
  private static final long MAX_MEMORY = 1L << 40;

  private final Stdin stdin;

  @Spec
  @SuppressWarnings("NullAway.Init")
  private CommandSpec spec;

  @Option(
      names = "--script",
      paramLabel = "FILE",
      description = "Run the lines of FILE; otherwise lines are read from stdin.")
  private @Nullable Path script;

  @Option(names = "--no-dpamt", description = "A module without Dynamic PAMT.")
  private boolean noDynamicPamt;

  @Option(
      names = "--memory",
      paramLabel = "SIZE",
      defaultValue = "4G",
      converter = MemorySize.Converter.class,
      description = "Memory of the host (default: ${DEFAULT-VALUE}).")
  private MemorySize memory = new MemorySize(MIN_MEMORY);

  SeamcallCommand(Stdin stdin) {
    this.stdin = stdin;
  }

  @Override
  public Integer call() throws IOException {
    if (memory.bytes() < MIN_MEMORY || memory.bytes() > MAX_MEMORY) {
      throw new ParameterException(
          spec.commandLine(), "--memory %d is not in [1G, 1T]".formatted(memory.bytes()));
    }
    TdxModuleConfig config = TdxModuleConfig.defaults().withDynamicPamt(!noDynamicPamt);
    SeamcallPrompt prompt = new SeamcallPrompt(config, memory.bytes(), spec.commandLine().getOut());
    try {
      if (script != null) {
        prompt.runScript(script.toString(), read(script));
      } else if (stdin.isTyped()) {
        prompt.talk(stdin.lines(), spec.commandLine().getErr());
      } else {
        prompt.runScript("<stdin>", stdin.lines().lines().toList());
      }
    } catch (ScriptException e) {
      spec.commandLine().getErr().println("septum: " + e.getMessage());
      return ExitCode.USAGE;
    }
    return prompt.failures() == 0 ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private static List<String> read(Path file) throws IOException {
    try {
      return Files.readAllLines(file);
    } catch (NoSuchFileException e) {
      throw new IOException(file + ": no such file", e);
    } catch (MalformedInputException e) {
      throw new IOException(file + ": not a text file", e);
    }
  }
}
